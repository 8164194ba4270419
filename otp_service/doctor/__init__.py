"""
What makes it unsafe to run, and what deserves a look: the same checks at every start and in `otp-service doctor`, which
asks the WordPress site too (a start does not: the site may be down while codes are verified).

A refusal names the setting or the server's option to change. In development most refusals are warnings.
"""
