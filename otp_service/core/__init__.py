"""Pure: no await, no Redis, no HTTP, no environment, no clock. `now` is an argument."""
