#!/bin/sh
# The Littlest JupyterHub: run as root in the clone, on the machine that has it.
set -eu
cd "$(dirname "$0")/.."
user=/opt/tljh/user
"$user/bin/pip" install torch torchvision --index-url https://download.pytorch.org/whl/cpu
"$user/bin/pip" install '.[lab]'
install -D -m 644 deploy/jupyter_server_config.py "$user/etc/jupyter/jupyter_server_config.py"
mkdir -p /opt/vaekit
cp -R data /opt/vaekit/
tljh-config set limits.memory 2G
tljh-config set limits.cpu 2
tljh-config set services.cull.timeout 3600
tljh-config set user_environment.default_app jupyterlab
tljh-config reload
