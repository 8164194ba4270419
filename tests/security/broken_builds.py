# ruff: noqa: E501
"""
Builds of the service that lack one defence each, and the tests that must fail on them: `python -m
tests.security.broken_builds [name …]`, or `make controls` for all.

A test that passes on such a build shows nothing, so this is the negative control of what has none of its own. Each run
is of a copy; nothing here is changed. That every build still breaks what stands in the code is a test of its own.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COPIED = ("otp_service", "tests", "docker", "docs", "requirements", ".ci", "pyproject.toml", "openapi.json",
          "Makefile", "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE")  # fmt: skip
LUA = "otp_service/store/lua"


@dataclass(frozen=True)
class Build:
    """
    One defence less.

    Attributes:
        ids: The attacks that it lets through.
        edits: (file, what stands there exactly once, what takes its place).
        tests: As pytest takes them, below `tests/`; each must fail.
    """

    name: str
    ids: tuple[str, ...]
    edits: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]


def build(name: str, ids: str, *parts: str | tuple[str, str, str]) -> Build:
    edits = tuple(part for part in parts if isinstance(part, tuple))
    return Build(name, tuple(ids.split()), edits, tuple(p for p in parts if isinstance(p, str)))


LIMITS = "security/test_limits.py::test_"
OTP = "web/test_otp.py::test_"
BODY = "web/test_body.py::test_"
NUMBERS = "security/test_numbers.py::test_"
PAUSES = "security/test_region_pauses.py::test_"
TRICKS = "security/test_tricks.py::test_"
DOCTOR = "core/test_settings_doctor.py::test_"

BUILDS: tuple[Build, ...] = (
    # Guesses
    build("count_by_itself", "A01 A02 A12 A15",
          (f"{LUA}/reserve_attempt.lua", "redis.call('HINCRBY', KEYS[1], 'attempts', 1)", "c.attempts + 1"),
          "reliability/test_races.py::TestInOneProcess::test_of_200_wrong_guesses_at_once_5_are_evaluated",
          "reliability/test_races.py::TestInOneProcess::test_who_hangs_up_while_hashing_has_spent_the_try_and_frees_no_place_early"),
    build("one_more", "A15",
          (f"{LUA}/reserve_attempt.lua", "if tonumber(c.attempts) >= tonumber", "if tonumber(c.attempts) > tonumber"),
          ("otp_service/flows/code_verification.py", "if reserved.attempts_left > 0:", "if reserved.attempts_left >= 0:"),
          f"{OTP}n_minus_one_wrong_then_right_passes_and_n_wrong_then_right_does_not"),
    build("no_budget", "A04 A06",
          (f"{LUA}/reserve_attempt.lua", "count_failure(KEYS[4], a.budget, now)\n", "\n"),
          f"{LIMITS}new_challenges_bring_no_new_guesses",
          "security/test_doors.py::test_canceling_and_asking_anew_brings_no_guesses"),
    build("no_budget_of_recovery", "A08 A10",
          (f"{LUA}/reserve_recovery_code.lua", "if blocked then", "if false then"),
          "security/test_doors.py::test_no_door_evaluates_more_than_ten_guesses"),
    build("block_not_looked_at", "A05 A10 A11",
          (f"{LUA}/reserve_attempt.lua", "if blocked then", "if false then"),
          f"{LIMITS}many_live_challenges_bring_no_more_guesses_than_one"),
    build("tries_prolong_the_block", "A17",
          (f"{LUA}/reserve_attempt.lua", "if blocked then\n", "if blocked then count_failure(KEYS[4], a.budget, now)\n"),
          f"{LIMITS}a_block_ends_when_it_said_and_tries_do_not_prolong_it"),
    build("no_row_of_a_hundred", "A07",
          (f"{LUA}/_guard.lua", "redis.call('HINCRBY', key, 'streak', 1)", ""),
          f"{LIMITS}a_hundred_in_a_row_at_any_pace_disable_the_factor"),
    build("fields_that_nobody_asked_for", "A13 B07 B28 C16 F04",
          ("otp_service/web/models.py", 'extra="forbid"', 'extra="ignore"'),
          f"{OTP}a_caller_can_not_set_the_policy", f"{TRICKS}where_a_code_went_is_not_said_again",
          "factors/test_totp.py::test_a_caller_cannot_bring_its_own_time"),
    build("a_limit_of_nothing", "A14",
          ("otp_service/core/limits.py", "1 <= count <= 1_000_000", "0 <= count <= 1_000_000"),
          "core/test_limits.py::test_what_is_no_limit_is_refused_and_not_repeated"),
    build("junk_burns_tries", "A16 B05 B08",
          (f"{LUA}/reserve_attempt.lua", "if c.purpose ~= a.purpose or c.binding ~= a.binding then", "if false then"),
          f"{OTP}another_purpose_or_binding_is_a_mismatch_and_costs_no_try"),
    build("no_binding_in_the_digest", "B05 B06 B08",
          ("otp_service/core/codes.py", "        context.caller,\n        context.purpose,\n        context.challenge_id,\n"
           "        str(context.generation),\n        context.binding,\n", ""),
          "core/test_codes.py::test_a_code_matches_where_it_was_drawn_for_and_nowhere_else"),
    build("any_spelling_of_a_person", "A18 H01",
          ("otp_service/web/otp_models.py", 'pattern="^[\\\\x21-\\\\x7e]{1,128}$"', 'pattern="^[^ ]{1,128}$"'),
          f"{OTP}a_malformed_field_is_named_and_nothing_is_done"),
    build("one_count_for_all_people", "A19 H02",
          ("otp_service/core/challenge.py", 'mac("subject/v1", caller, subject)', 'mac("subject/v1", caller)'),
          "core/test_challenge.py::test_every_caller_and_subject_lies_elsewhere",
          "core/test_challenge.py::test_subjects_are_spread_over_all_buckets"),
    build("one_more_in_a_window", "A20 D12",
          (f"{LUA}/_limits.lua", "count - 1, count - 1", "count, count"),
          f"{LIMITS}the_cooldown_grows_and_then_the_window_and_the_day_stand_in_the_way",
          f"{LIMITS}in_no_window_are_more_codes_sent_than_the_limits_say"),
    # Once
    build("not_spent", "B01 F19",
          (f"{LUA}/consume_challenge.lua", "'status', 'approved', 'ended_at', now,", ""),
          (f"{LUA}/consume_challenge.lua", "redis.call('DEL', KEYS[2], KEYS[4])", "redis.call('DEL', KEYS[4])"),
          (f"{LUA}/consume_challenge.lua", "redis.call('HDEL', KEYS[3], own)", ""),
          "test_login_flow.py::test_the_right_code_is_accepted_once",
          "security/test_order.py::test_nothing_succeeds_whose_beginning_has_not_happened"),
    build("old_code_lives_on", "B04",
          (f"{LUA}/resend_code.lua", "if tonumber(c.grace_ms) > 0 then", "if true then"),
          (f"{LUA}/resend_code.lua", "math.min(now + c.grace_ms, old_expires_at)", "old_expires_at"),
          f"{OTP}the_old_code_is_dead_the_moment_a_resend_is_accepted"),
    build("anybodys_challenge", "B06 E05 F17",
          (f"{LUA}/view_challenge.lua", "if c.caller ~= a.caller then", "if not c.caller then"),
          f"{OTP}unknown_foreign_and_forgotten_are_one_answer_byte_for_byte",
          "security/test_isolation.py::test_ids_of_another_caller_are_ids_that_never_were"),
    build("no_end_by_time", "B09 G08",
          (f"{LUA}/_ending.lua", "if now >= tonumber(challenge.expires_at) then", "if false then"),
          "test_login_flow.py::test_a_code_expires_after_five_minutes_by_the_clock_of_redis"),
    build("a_proof_fits_everywhere", "B13",
          (f"{LUA}/spend_proof.lua", "if fields.binding ~= a.binding or (a.purpose and fields.purpose ~= a.purpose) then",
           "if false then"),
          "web/test_proofs.py::test_a_proof_shown_in_the_wrong_place_proves_nothing_and_is_spent"),
    build("anybodys_proof", "B13 F18",
          (f"{LUA}/spend_proof.lua", "fields.audience ~= a.caller", "not fields.audience"),
          "web/test_proofs.py::test_a_stranger_can_spend_nobodys_proof"),
    build("any_body_under_a_key", "B14",
          (f"{LUA}/begin_idempotent.lua", "if not same then", "if false then"),
          f"{OTP}the_same_key_with_another_body_is_refused",
          "security/test_doors.py::test_who_hangs_up_gets_no_second_guess_under_the_same_key"),
    build("runs_side_by_side", "B15",
          (f"{LUA}/begin_idempotent.lua", "tonumber(r.busy_until) > now", "false"),
          f"{OTP}while_a_call_runs_the_same_key_is_told_to_wait"),
    build("everybodys_keys", "B16",
          ("otp_service/flows/idempotency.py", '"idempotency-key/v1", caller, call, key', '"idempotency-key/v1", key'),
          f"{OTP}a_key_belongs_to_its_caller_and_its_call"),
    build("secrets_are_kept", "B17",
          ("otp_service/web/operations.py", "if self.shows_secret and key is not None:", "if False:"),
          "factors/test_recovery_codes.py::test_the_same_idempotency_key_shows_the_codes_once",
          "factors/test_totp.py::test_the_same_idempotency_key_shows_no_secret_twice"),
    build("a_recovery_code_stays", "B18 B20",
          (f"{LUA}/redeem_recovery_code.lua", "redis.call('HDEL', KEYS[1], a.index)\n", ""),
          "factors/test_recovery_codes.py::test_each_of_ten_codes_is_redeemed_once",
          "factors/test_recovery_codes.py::test_two_different_codes_at_once_are_both_spent"),
    build("no_memory_of_steps", "B22 B23 B24",
          (f"{LUA}/accept_step.lua", "if a.step <= factor.last_step then", "if a.step < factor.last_step then"),
          "factors/test_totp.py::test_a_code_of_the_app_is_accepted_once",
          "factors/test_totp.py::test_fifty_at_once_are_one_acceptance",
          "factors/test_totp.py::test_a_replay_in_another_spelling_is_a_replay"),
    build("steps_in_any_order", "B25 B27",
          (f"{LUA}/accept_step.lua", "if a.step <= factor.last_step then", "if a.step == factor.last_step then"),
          "factors/test_totp.py::test_an_older_step_is_refused_after_a_newer_one"),
    build("a_wide_window", "B26",
          ("otp_service/core/totp.py", "past: int = 1, future: int = 0", "past: int = 1, future: int = 2"),
          "core/test_totp.py::test_the_current_and_one_past_step_match_and_no_other"),
    build("weak_apps", "B31",
          ("otp_service/web/factor_models.py", "digits: Annotated[Literal[6, 8]", "digits: Annotated[int"),
          "factors/test_totp.py::test_weak_parameters_are_refused"),
    build("anybodys_factor", "B33 F17",
          (f"{LUA}/change_factor.lua", "if not factor or factor.caller ~= a.caller then", "if not factor then"),
          "factors/test_totp.py::test_a_factor_of_another_caller_or_subject_does_not_exist"),
    build("a_removed_app_goes_on", "B10",
          (f"{LUA}/change_factor.lua", "  redis.call('HDEL', KEYS[1], a.id)\n", ""),
          "factors/test_auto_channel.py::test_an_app_removed_in_between_is_told_and_costs_nothing"),
    # Input
    build("anything_is_a_code", "C01 C03 C04",
          ("otp_service/core/codes.py", " and text.isascii() and text.isdigit()", ""),
          "core/test_codes.py::test_anything_else_is_no_code",
          f"{OTP}no_other_type_and_no_other_text_is_a_code_and_none_costs_a_try"),
    build("numbers_are_codes", "C01",
          ("otp_service/web/models.py", 'strict=True,', 'coerce_numbers_to_str=True,'),
          f"{OTP}no_other_type_and_no_other_text_is_a_code_and_none_costs_a_try"),
    build("codes_without_their_zeros", "C02",
          ("otp_service/core/codes.py", ":0{digits}d}", "}"),
          "core/test_codes.py::test_a_code_has_its_length_leading_zeros_included"),
    build("any_length", "C05",
          (f"{LUA}/reserve_attempt.lua", "if a.digits ~= tonumber(c.digits) then", "if false then"),
          f"{OTP}a_code_of_another_length_costs_no_try"),
    build("names_twice", "C06 C17",
          ("otp_service/web/body.py", "if len(value) != len(pairs):", "if False:"),
          ("otp_service/web/body.py", "if len(dict(pairs)) != len(pairs):", "if False:"),
          f"{BODY}a_name_that_occurs_twice_is_refused", f"{TRICKS}a_query_has_one_meaning_or_none"),
    build("no_numbers", "C07",
          ("otp_service/web/body.py", 'raise InvalidJson(f"{name} is not JSON")', 'return 0'),
          f"{BODY}numbers_that_are_none_are_refused"),
    build("any_depth", "C08",
          ("otp_service/web/body.py", "if depth > MAX_DEPTH:", "if False:"),
          f"{BODY}eight_levels_are_read_and_nine_are_not"),
    build("long_numbers", "C09",
          ("otp_service/web/body.py", "_MAX_NUMBER = 64", "_MAX_NUMBER = 10**6"),
          f"{BODY}numbers_of_more_than_64_characters_are_refused"),
    build("any_size", "C10",
          ("otp_service/web/body.py", "MAX_BYTES = 16 * 1024", "MAX_BYTES = 10**9"),
          f"{BODY}a_large_declared_body_is_refused_unread"),
    build("any_coding", "C11",
          ("otp_service/web/body.py", 'raise NotJson("a Content-Encoding is not accepted")', "pass"),
          f"{BODY}a_content_coding_is_refused"),
    build("half_characters", "C12",
          ("otp_service/web/body.py", 'raise InvalidJson("a text holds half a surrogate pair")', "pass"),
          f"{BODY}bad_utf_8_and_lone_surrogates_are_refused"),
    build("no_objects", "C13",
          ("otp_service/web/body.py", 'raise InvalidJson("the body is not a JSON object")', "value = {}"),
          f"{BODY}what_is_no_object_is_refused"),
    build("any_media_type", "C14 C15",
          ("otp_service/web/body.py", 'raise NotJson("the Content-Type must be application/json")', "pass"),
          f"{BODY}other_media_types_are_refused",
          f"{TRICKS}a_form_is_not_parsed_however_many_fields_it_has"),
    build("queries", "C17 F13",
          ("otp_service/web/body.py", 'raise BadRequest("this call takes no query string")', "return None"),
          "web/test_contract.py::test_no_call_takes_a_query"),
    build("any_host", "C19",
          ("otp_service/web/edge.py", " or _HOST.fullmatch(hosts[0]) is None", ""),
          "web/test_contract.py::test_a_host_that_is_none_is_refused_whatever_the_path"),
    build("paths_with_line_feeds", "C20",
          ("otp_service/web/edge.py", 'elif _CONTROL.search(scope["path"]):', "elif False:"),
          "web/test_contract.py::test_a_path_that_ends_in_a_control_character_is_nothing"),
    build("all_the_time_in_the_world", "C21 C22 C23 I09",
          ("otp_service/web/protocol.py", "self._deadline = self.loop.call_later(seconds, self.transport.close)", "pass"),
          f"{BODY}a_head_that_trickles_in_and_silence_are_cut_off", f"{BODY}a_body_that_trickles_in_is_cut_off",
          "web/test_heads.py::test_hundreds_of_silent_connections_are_cut_off_and_keep_nobody_out"),
    build("trailers_are_headers", "C24",
          ("otp_service/web/protocol.py", "if not self._in_head:", "if False:"),
          "web/test_heads.py::test_a_credential_in_a_trailer_is_none",
          "web/test_heads.py::test_a_certificate_in_a_trailer_is_none"),
    build("endless_requests", "C10 C25",
          ("otp_service/web/protocol.py", "if self._request_left < 0:", "if False:"),
          "web/test_heads.py::test_a_line_without_an_end_is_cut_off"),
    build("long_texts_are_parsed", "C26",
          ("otp_service/core/recipients.py", "if len(typed) > MAX_TYPED:", "if False:"),
          f"{NUMBERS}a_long_text_is_refused_by_its_length_before_any_parsing"),
    build("control_characters", "C28",
          ("otp_service/cli/plain.py", 'return _CONTROL.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)', "return text"),
          "security/test_terminal.py::test_a_message_of_the_site_moves_no_cursor"),
    build("any_request_id", "C28",
          ("otp_service/web/edge.py", "given if _REQUEST_ID.fullmatch(given) else", "given or"),
          "web/test_contract.py::test_a_request_keeps_the_id_it_came_with_if_it_is_one"),
    # Numbers and texts
    build("numbers_as_typed", "D01",
          ("otp_service/core/recipients.py", "text = normalise(typed).replace", "text = typed.replace"),
          f"{NUMBERS}every_spelling_is_the_one_number"),
    build("extensions_are_dropped", "D02",
          ("otp_service/core/recipients.py", '    if "ext" in lower or "x" in lower or "#" in text:\n        raise RecipientRefused(Reason.EXTENSION)\n',
           '    text = "".join(c for c in lower.split("e")[0].split("x")[0].split("#")[0] if c != ";")\n'),
          f"{NUMBERS}no_extension_makes_a_new_key"),
    build("anything_behind_a_plus", "D04 D05",
          ("otp_service/core/recipients.py", ' and text[1:].isascii() and text[1:].isdigit()', ""),
          f"{NUMBERS}what_is_not_one_number_is_refused"),
    build("any_type_of_number", "D06",
          ("otp_service/core/recipients.py", "if kind not in _RECEIVES_SMS or region", "if region"),
          f"{NUMBERS}premium_shared_cost_and_landline_numbers_are_refused"),
    build("numbers_of_no_country", "D07",
          ("otp_service/core/recipients.py", " or region == _WORLDWIDE:", ":"),
          f"{NUMBERS}satellite_and_global_networks_are_refused_whatever_they_parse_as"),
    build("every_region", "D08",
          ("otp_service/core/recipients.py", "if regions is not None and region not in regions:", "if False:"),
          f"{NUMBERS}regions_are_regions_and_not_calling_codes"),
    build("no_blocks", "A09 D09",
          ("otp_service/flows/send_limits.py", 'key=key("block", recipient.block)', 'key=key("block", recipient.e164)'),
          f"{LIMITS}numbers_in_a_row_stop_at_twenty"),
    build("no_budget_of_callers", "D10 D11 I06",
          ("otp_service/flows/send_limits.py", 'key=key("caller", caller)', 'key=key("caller", recipient.e164)'),
          f"{LIMITS}a_callers_budget_is_its_own_and_a_hard_stop",
          "security/test_exhaustion.py::test_a_flood_of_requests_stops_at_the_callers_budget"),
    build("no_pauses", "D10",
          ("otp_service/flows/send_limits.py", "if trickle is not None:", "if False:"),
          f"{PAUSES}few_sends_to_each_of_200_blocks_are_seen_and_end_in_a_trickle",
          f"{PAUSES}a_pause_goes_on_while_the_trickle_is_eaten_by_the_attack"),
    build("pauses_for_whoever_types_codes", "D10",
          (f"{LUA}/weigh_regions.lua", " and approved < a.below * requested", ""),
          f"{PAUSES}who_types_codes_is_let_alone"),
    build("pauses_of_all_callers", "F17",
          ("otp_service/flows/region_pauses.py", "if not self._paused or Pair(caller, region) not in self._paused:",
           "if region not in {pair.region for pair in self._paused}:"),
          f"{PAUSES}a_pause_is_of_one_caller_and_one_region"),
    build("pauses_at_the_first_crowd", "D10",
          (f"{LUA}/weigh_regions.lua", "elseif closes <= now - a.patience_ms then", "else"),
          f"{PAUSES}codes_that_are_still_to_be_typed_count_against_nobody"),
    build("one_number_pauses_a_region", "D10",
          ("otp_service/flows/region_pauses.py", "window is None or window.used == 1", "True"),
          f"{PAUSES}one_number_again_and_again_brings_nobody_closer_to_a_pause"),
    build("numbers_of_yesterday_weigh_nothing", "D10",
          ("otp_service/flows/region_pauses.py", "w.window_ms <= self._rules.least.seconds * 1000", "True"),
          f"{PAUSES}whoever_goes_round_in_a_pool_of_numbers_is_seen_too"),
    build("pauses_forgotten_in_slow_attacks", "D10",
          ("otp_service/flows/region_pauses.py", "if not (self._due or ripe or aging):", "if not (self._due or ripe):"),
          f"{PAUSES}an_attack_slower_than_the_memory_of_a_process_is_held_up_too"),
    build("no_cooldown", "D12 D13",
          (f"{LUA}/_limits.lua", "local last = spec.cooldown and", "local last = false and"),
          f"{LIMITS}fifty_resends_at_once_are_one_sms", f"{LIMITS}fifty_requests_at_once_are_one_sms"),
    build("any_name", "D14 D15 D18",
          ("otp_service/core/message_values.py", "    name = tidy_name(value)\n    if not name", "    return None\n    if not name"),
          "core/test_message_values.py::test_other_names_are_refused"),
    build("any_hash_of_an_app", "D18 D22",
          ("otp_service/core/message_values.py", '    if not _APP_HASH.fullmatch(value):', '    return None\n    if not _APP_HASH.fullmatch(value):'),
          "core/test_message_values.py::test_other_hashes_are_refused",
          "core/test_message_values.py::test_a_hash_in_which_one_could_see_a_code_is_refused",
          "core/test_settings.py::test_a_value_that_can_not_be_used_is_refused_and_not_repeated"),
    build("any_locale", "D21",
          ("otp_service/web/otp_models.py", "if not is_locale_tag(value):", "if False:"),
          f"{OTP}a_malformed_field_is_named_and_nothing_is_done"),
    # Silence
    build("a_code_that_always_works", "E07",
          ("otp_service/flows/code_verification.py", "if await hashing.matches(candidate.digest, codes.message(pepper, context, code)):",
           'if code == "000000" or await hashing.matches(candidate.digest, codes.message(pepper, context, code)):'),
          f"{OTP}no_code_is_accepted_because_of_what_it_is"),
    build("numbers_in_logs", "E08",
          ("otp_service/flows/code_sending.py", 'log.info("challenge.opened", caller=caller,', 'log.info("challenge.opened", to=recipient.e164, caller=caller,'),
          "security/test_silence.py::test_no_number_is_left_anywhere"),
    build("paths_as_labels", "E09 I08",
          ("otp_service/web/edge.py", 'route = getattr(scope.get("route"), "path", "none")', 'route = scope["path"]'),
          "security/test_silence.py::test_metrics_have_a_bounded_set_of_labels"),
    build("printed_numbers", "E10",
          ("otp_service/core/recipients.py", "e164: str = field(repr=False)", "e164: str = field()"),
          f"{NUMBERS}a_recipient_shows_no_number_when_it_is_printed"),
    build("answers_are_kept", "E15",
          ("otp_service/web/edge.py", '"Cache-Control": "no-store"', '"Cache-Control": "max-age=60"'),
          "web/test_contract.py::test_every_answer_says_that_it_is_not_to_be_kept_or_framed"),
    build("no_key_in_fingerprints", "E17",
          ("otp_service/core/challenge.py", "return key.mac(domain, *parts)[:16].hex()",
           'import hashlib\n\n    return hashlib.sha256("".join(parts).encode()).hexdigest()[:32]'),
          "core/test_challenge.py::test_a_fingerprint_is_keyed_and_of_one_domain"),
    build("a_mask_of_half_the_number", "E18",
          ("otp_service/core/recipients.py", "{e164[-2:]}", "{e164[-6:]}"),
          f"{NUMBERS}a_mask_tells_the_calling_code_and_two_digits_whatever_the_length"),
    # Callers
    build("any_scheme", "F01",
          ("otp_service/web/operations.py", 'if len(headers) > 1 or scheme.lower() != "bearer":', "if False:"),
          f"{TRICKS}a_credential_under_another_scheme_is_none"),
    build("any_digest", "F02",
          ("otp_service/core/credentials.py",
           'same = hmac.compare_digest(key.mac("credential/v1", presented.text).hex(), stored.digest)', "same = True"),
          "core/test_credentials.py::test_a_credential_that_was_changed_is_not_known",
          "security/test_callers.py::test_a_record_written_without_the_key_opens_nothing"),
    build("either_of_two_keys", "F09",
          ("otp_service/core/issuer_keys.py", "or times[kid] > 1 or", "or"),
          "security/test_caller_tokens.py::test_a_key_id_that_occurs_twice_is_nobodys"),
    build("seeds_in_the_clear", "B30",
          ("otp_service/flows/factors.py", 'log.info("factor.enrolled", caller=caller, factor_id=factor_id)',
           'log.info("factor.enrolled", seed=authenticator.seed)'),
          ("otp_service/flows/factors.py", "name=name,\n                about=", "name=authenticator.seed,\n                about="),
          "factors/test_totp_secrets.py::test_a_seed_has_160_bits_and_lies_sealed_beside_whose_it_is",
          "factors/test_totp_secrets.py::test_no_later_answer_shows_a_seed"),
    build("no_scopes", "F03 K18",
          ("otp_service/web/operations.py", "caller.require(self.scope)", "pass"),
          "security/test_callers.py::test_a_call_goes_with_its_own_scope_and_with_no_other",
          "security/test_doors.py::test_what_was_answered_before_is_told_to_who_may_still_ask",
          "operators/test_unblock.py::test_the_scope_is_needed_and_a_caller_frees_its_own_people_only"),
    build("revoked_in_an_hour", "F14",
          ("otp_service/flows/known_callers.py", "MEMORY_SECONDS = 5.0", "MEMORY_SECONDS = 3600.0"),
          "security/test_callers.py::test_a_revoked_credential_is_refused_within_five_seconds"),
    build("addresses_of_their_own", "F16",
          ("otp_service/core/limits.py", 'f"{ip}/64"', 'f"{ip}/128"'),
          "core/test_limits.py::test_an_end_user_is_a_network",
          f"{LIMITS}one_end_users_network_causes_ten_sends_in_ten_minutes"),
    # Redis
    build("any_eviction", "H03",
          ("otp_service/doctor/redis.py", 'elif facts.policy != "noeviction":', "elif False:"),
          f"{DOCTOR}a_server_that_forgets_is_refused"),
    build("no_file", "H05",
          ("otp_service/doctor/redis.py", "if facts.append_only is False and", "if False and"),
          f"{DOCTOR}a_server_that_forgets_is_refused"),
    build("a_replica_will_do", "H06",
          ("otp_service/doctor/redis.py", "if not facts.writable:", "if False:"), f"{DOCTOR}a_replica_is_refused"),
    build("any_server_any_user", "H10 H11",
          ("otp_service/doctor/redis.py", "if _vulnerable(facts):", "if False:"),
          ("otp_service/doctor/redis.py", "if facts.all_powerful:", "if False:"),
          f"{DOCTOR}what_a_server_says_of_itself_is_judged"),
    build("scripts_are_loaded_once", "H07",
          ("otp_service/store/scripts.py", "except NoScriptError:", "except ZeroDivisionError:"),
          "reliability/test_redis_faults.py::test_a_flushed_script_cache_is_not_noticed"),
    build("no_end_of_keys", "H12",
          (f"{LUA}/open_challenge.lua", "redis.call('PEXPIRE', KEYS[1], a.ttl_ms + a.retention_ms)\n", ""),
          "security/test_exhaustion.py::test_every_key_of_a_whole_life_has_an_end"),
    build("no_ceiling", "H04",
          ("otp_service/core/limits.py", "if len(self._times) >= self._window.count:", "if False:"),
          f"{LIMITS}a_process_sends_only_so_much_though_redis_forgets_everything"),
    # Exhaustion
    build("everybody_is_admitted", "I01",
          ("otp_service/flows/hashing.py", "if self._taken >= self._places:", "if False:"),
          f"{OTP}verifications_beyond_the_places_for_hashing_cost_no_try",
          "security/test_exhaustion.py::test_who_is_not_admitted_is_told_before_anything_waits"),
    build("hashing_on_the_loop", "I03",
          ("otp_service/flows/hashing.py", 'return asyncio.wrap_future(self._threads.submit(work))',
           'done = asyncio.get_running_loop().create_future()\n        done.set_result(work())\n        return done'),
          "security/test_exhaustion.py::test_while_hashes_run_everything_else_is_answered"),
    build("eight_threads_a_core", "I04",
          ("otp_service/flows/hashing.py", "return max(1, cores // max(1, workers))", "return 8 * cores"),
          "security/test_exhaustion.py::test_a_pool_is_as_wide_as_the_cores_of_its_process"),
    build("a_queue_without_end", "I05",
          (f"{LUA}/open_challenge.lua", "if sends and redis.call('XLEN', KEYS[5]) >= a.queue_limit then", "if false then"),
          f"{OTP}a_full_queue_sheds_and_counts_nothing"),
    # Browsers
    build("read_by_every_page", "J02",
          ("otp_service/web/edge.py", '"Cache-Control": "no-store",', '"Cache-Control": "no-store",\n    "Access-Control-Allow-Origin": "*",'),
          f"{TRICKS}no_page_of_another_origin_reads_or_is_allowed_anything"),
    build("a_cookie", "J01 J08",
          ("otp_service/web/edge.py", '"Cache-Control": "no-store",', '"Cache-Control": "no-store",\n    "Set-Cookie": "a=b",'),
          f"{TRICKS}no_cookie_is_given_and_none_is_a_credential"),
    build("framed", "J03 J04",
          ("otp_service/web/edge.py", "default-src 'none'; frame-ancestors 'none'", "default-src *"),
          f"{TRICKS}no_answer_is_a_page"),
    # Keys and operation
    build("ids_that_are_not_drawn", "K03",
          ("otp_service/core/challenge.py", "{secrets.token_hex(16)}", "{'0' * 32}"),
          "core/test_challenge.py::test_ids_hold_128_random_bits_and_no_order"),
    build("retired_keys_work_on", "K04 K06",
          ("otp_service/core/keyring.py", "if state is State.RETIRED:", "if False:"),
          "core/test_keyring.py::test_a_verifying_key_still_checks_and_a_retired_one_does_nothing"),
    build("one_key_for_all_kinds", "K08",
          ("otp_service/core/keyring.py", 'info=f"otp_service/{kind}/v1".encode()', 'info=b"otp_service"'),
          "core/test_keyring.py::test_the_same_bytes_under_two_kinds_are_two_keys"),
    build("unknown_settings_are_ignored", "K10 K11",
          ("otp_service/settings/environment.py", 'wrong[name] = f"is no setting{hint}"', "pass"),
          "core/test_settings.py::test_a_name_that_is_no_setting_is_refused",
          "core/test_settings.py::test_a_misspelt_setting_is_refused_and_the_right_one_suggested"),
    build("a_container_that_may_do_more", "K12",
          ("docker/compose.yaml", "    user: \"10001:10001\"", "    user: \"0:0\""),
          "docker/test_container_files.py::test_every_container_is_read_only_without_capabilities_and_root"),
    build("brackets_are_markup", "K18",
          ("otp_service/cli/plain.py", "Console(markup=False, highlight=False, emoji=False)", "Console()"),
          "security/test_terminal.py::test_a_reason_is_shown_as_it_was_written"),
    build("unblocking_forgets", "K18",
          (f"{LUA}/unblock_subject.lua", "streak = math.min(streak, math.max(0, a.budget.in_a_row - a.tries))", "streak = 0"),
          "operators/test_unblock.py::test_unblocking_never_zeroes_the_long_counts"),
    build("a_resend_gives_the_tries_back", "A03",
          (f"{LUA}/resend_code.lua", "'delivery_reason', '', 'resend_id', a.resend_id)", "'delivery_reason', '', 'resend_id', a.resend_id, 'attempts', 0)"),
          f"{LIMITS}resending_brings_no_new_guesses"),
    build("methods_in_headers", "C18",
          ("otp_service/web/edge.py", "headers = Headers(scope=scope)", 'headers = Headers(scope=scope)\n        scope["method"] = headers.get("x-http-method-override", scope["method"])'),
          "web/test_contract.py::test_a_method_can_not_be_overridden"),
    build("parts_on_offer", "C27",
          ("otp_service/web/health.py", 'return Response(data, media_type="application/json")', 'return Response(data[:1] if "range" in request.headers else data, media_type="application/json")'),
          f"{TRICKS}a_range_means_nothing"),
    build("numbers_stay_as_typed", "D03",
          ("otp_service/core/recipients.py", "e164 = format_number(number, PhoneNumberFormat.E164)", 'e164 = typed.replace(" ", "")'),
          f"{NUMBERS}a_trunk_zero_makes_no_other_number"),
    build("everybodys_headers", "E04",
          (f"{LUA}/_limits.lua", "next_ms, spec = {}, 0, specs[1]", "next_ms, spec = {}, 0, specs[2]"),
          f"{LIMITS}what_others_send_shows_in_no_header_of_mine"),
    build("any_secret", "F20",
          ("otp_service/core/keyring.py", 'raise KeyringError(f"key {kid}: secret is not 32 to 64 random bytes")', "pass"),
          "core/test_keyring.py::test_an_entry_that_is_wrong_is_refused_and_its_secret_not_repeated"),
    build("any_type_of_token", "F11",
          ("otp_service/core/caller_tokens.py", 'raise TokenRefused("type")', "pass"),
          "security/test_caller_tokens.py::test_other_kinds_of_tokens_are_no_credentials"),
    build("a_fetch_for_every_unknown_key", "F12",
          ("otp_service/flows/caller_tokens.py", "PAUSE_SECONDS = 60.0", "PAUSE_SECONDS = 0.0"),
          "security/test_issuer_keys.py::test_a_thousand_unknown_keys_fetch_once_a_minute"),
    build("a_send_without_a_fence", "G05",
          (f"{LUA}/begin_send.lua", "if c.delivery ~= 'queued' or tonumber(c.generation) ~= a.generation", "if tonumber(c.generation) ~= a.generation"),
          "reliability/test_crashes.py::test_a_job_in_the_hands_of_many_workers_is_sent_once"),
    build("refused_calls_are_remembered", "I07",
          ("otp_service/flows/idempotency.py", "await self._idempotency.let_go(digest)", "pass"),
          f"{LIMITS}refused_calls_leave_no_keys_behind"),
)  # fmt: skip


def failing(broken: Build, copy: Path) -> list[str]:
    """Apply the edits to the copy, run the tests, take the edits back; return the tests that did not fail."""
    before = {file: (copy / file).read_text("utf-8") for file, _, _ in broken.edits}
    try:
        for file, old, new in broken.edits:
            text = (copy / file).read_text("utf-8")
            (copy / file).write_text(text.replace(old, new), "utf-8")
        return [test for test in broken.tests if not _fails(test, copy)]
    finally:
        for file, text in before.items():
            (copy / file).write_text(text, "utf-8")


def _fails(test: str, copy: Path) -> bool:
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-n",
        "0",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, f"tests/{test}"], cwd=copy, capture_output=True, text=True, check=False
    )
    # 1 is a failure; anything else (no such test, the build does not even start) shows nothing.
    if done.returncode == 1 and re.search(r"^[0-9]+ failed", done.stdout, re.MULTILINE):
        return True
    print(done.stdout[-2000:], file=sys.stderr)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name")
    names = parser.parse_args().names
    chosen = [one for one in BUILDS if not names or one.name in names]
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="otp-broken-") as directory:
        copy = Path(directory)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for one in chosen:
            passed = failing(one, copy)
            wrong += len(passed)
            print("seen  " if not passed else "MISSED", one.name, *one.ids, *passed, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
