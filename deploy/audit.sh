#!/bin/sh
# Known weaknesses of the locked versions: sh deploy/audit.sh ENVIRONMENT. Where the database cannot be asked it says so.
set -eu
environment=$1
[ -x "$environment/bin/pip-audit" ] || {
  python3 -m venv "$environment"
  "$environment/bin/python" -m pip install -q --disable-pip-version-check pip-audit 2>/dev/null || {
    echo "pip-audit skipped: it could not be installed"
    exit 0
  }
}
status=0
told=$("$environment/bin/pip-audit" --disable-pip --require-hashes -r requirements-dev.lock 2>&1) || status=$?
echo "$told"
# An index that knows nothing of weaknesses answers "not found" for every package: that is no audit.
case $told in
  *"numpy"*"could not be audited"* | *ServiceError* | *ConnectionError*)
    echo "pip-audit skipped: the database of weaknesses could not be asked"
    ;;
  *) exit "$status" ;;
esac
