#!/bin/sh
# Checks the files in deploy/: Kubernetes manifests against the schemas of its API, the systemd unit by systemd itself where there
# is one, the others for syntax. Needs python3; installs the rest below target/ci.
set -eu
cd "$(dirname "$0")/.."
CI_DIR=target/ci/deploy
[ -x "$CI_DIR/bin/kubernetes-validate" ] || {
    python3 -m venv "$CI_DIR"
    "$CI_DIR/bin/pip" install --quiet kubernetes-validate==1.37.0 PyYAML
}
"$CI_DIR/bin/kubernetes-validate" --strict deploy/kubernetes/*.yaml
"$CI_DIR/bin/python" - <<'PYTHON'
import glob, json, yaml
for name in glob.glob("deploy/**/*.json", recursive=True):
    json.load(open(name))
for name in glob.glob("deploy/**/*.y*ml", recursive=True):
    list(yaml.safe_load_all(open(name)))
rules = yaml.safe_load(open("deploy/prometheus/alerts.yml"))["groups"][0]["rules"]
for rule in rules:
    assert rule["expr"] and rule["annotations"]["summary"], rule
    assert rule["labels"]["severity"] in ("page", "ticket"), rule
print(len(rules), "alert rules")
PYTHON
if command -v systemd-analyze >/dev/null; then
    # It wants the program to exist.
    unit=$CI_DIR/holocron.service
    sed 's|^ExecStart=/usr/bin/holocron|ExecStart=/bin/true|' deploy/systemd/holocron.service >"$unit"
    systemd-analyze verify "$unit"
    echo "the systemd unit is valid"
fi
