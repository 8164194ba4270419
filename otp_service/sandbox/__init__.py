"""A stand-in for a WordPress site with WSMS 7.2 or 7.2.8: for development and tests, never for real messages.

It answers as the recordings of the real plugin do (see `tests/wsms_recordings`), keeps everything in
the memory of one process, and sends nothing anywhere. The service never imports this package.
"""
