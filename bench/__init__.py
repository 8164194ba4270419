"""
What the service makes of a machine: `python -m bench`.

Everything is measured in one run and told as ratios, since absolute numbers are those of one machine and one moment.
The service is a real process with a real Valkey; the load and a stand-in provider live in the process of the benchmark
and use the same cores, so a share of the ceiling counts their cost against the service.
"""
