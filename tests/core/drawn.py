"""Names and amounts for messages, as hypothesis draws them: of every script, and none that is refused."""

from hypothesis import strategies as st

from otp_service.core.message_values import amount_problem, name_problem

words = st.text(st.sampled_from("aZéÖłśßçñسکहि中あЖ𝒳") | st.characters(), min_size=1, max_size=6)
breaks = st.sampled_from([" ", " & ", "-", "'", ". ", ", ", " 12", "۴۵ ", "\u200c"])
names = st.builds(
    lambda first, middle, last: f"{first}{middle}{last}"[:20].strip(), words, breaks, words
).map(lambda name: name if name_problem(name) is None else "Księgarnia Łódź 1 12")
amounts = st.builds(
    lambda number, decimals, currency, first: (
        f"{currency} {number}{decimals}" if first else f"{number}{decimals} {currency}"
    ),
    st.integers(0, 999_999_999),
    st.sampled_from(["", ".5", ",75", ".00"]),
    st.sampled_from(["EUR", "IRR", "JPY"]),
    st.booleans(),
).map(lambda amount: amount if amount_problem(amount) is None else "9999999.99 EUR")
