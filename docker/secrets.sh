#!/bin/sh
# Write what docker/compose.yaml mounts as secrets, once; what is there already is kept.
#
#   sh docker/secrets.sh
#
# Then put the WordPress application password into docker/secrets/wsms_application_password.
# The key ring is made by the image; set OTP_SERVICE to run another otp-service, such as .venv/bin/otp-service.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

hex() { od -An -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }

if [ ! -s secrets/redis_url ] || [ ! -s secrets/users_acl ]; then
  password=$(hex 32)
  printf 'redis://otp:%s@valkey:6379/0\n' "$password" > secrets/redis_url
  digest=$(printf %s "$password" | sha256)
  sed "s/@SHA256_OF_THE_PASSWORD@/$digest/" users.acl.template > secrets/users_acl
fi
if [ ! -s secrets/keyring ]; then
  if [ -z "${OTP_SERVICE:-}" ]; then
    docker compose -f compose.yaml build service
    docker run --rm --network none otp-service:local otp-service keys generate > secrets/keyring.new
  else
    $OTP_SERVICE keys generate > secrets/keyring.new
  fi
  mv secrets/keyring.new secrets/keyring
fi
# Of the form of a WordPress application password; good for the sandbox until you put the real one there.
[ -s secrets/wsms_application_password ] || printf '%s\n' "$(hex 12)" > secrets/wsms_application_password

# Compose mounts single files with the owner they have here, and the containers run as 10001 and 999. The directory keeps
# everybody else on this machine away, and compose.yaml sets OTP_ALLOW_READABLE_SECRETS.
chmod 0700 secrets
chmod 0444 secrets/*
