-- Whether a change of what a person gets in with lacks its proof: one was shown and is dead (spent, past its end), or none
-- was although `asked` and the subject has a confirmed factor. That the one shown is the subject's own has been seen to.
local function unproven(proof, asked, factors, a, now)
  if proof then return not is_active(proof, a, now) end
  if asked then
    for _, factor in pairs(factors) do
      if factor.status == 'confirmed' then return true end
    end
  end
  return false
end
