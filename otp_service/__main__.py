"""`python -m otp_service` is `otp-service`."""

from otp_service.cli import main

if __name__ == "__main__":
    main()
