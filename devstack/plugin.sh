# shellcheck shell=bash
# The DevStack plug-in of Picasso. DevStack sources it as `plugin.sh MODE [PHASE]`; what the phases do is in
# lib/, what can be set is in settings, and README.md is for people.

for _picasso_part in common install config accounts clients service; do
    # shellcheck source=/dev/null
    source "$PICASSO_DIR/devstack/lib/$_picasso_part"
done
unset _picasso_part

if is_service_enabled picasso; then
    case "$1${2:+ $2}" in
        "stack pre-install")
            echo_summary "Preparing the host for Picasso"
            picasso_check_host
            picasso_make_user
            ;;
        "stack install")
            echo_summary "Installing Picasso"
            picasso_install
            picasso_install_clients
            picasso_let_services_tell
            ;;
        "stack post-config")
            echo_summary "Configuring Picasso"
            picasso_create_accounts
            picasso_configure
            picasso_configure_swift
            picasso_install_unit
            ;;
        "stack extra")
            echo_summary "Starting Picasso"
            picasso_init
            picasso_start
            picasso_register_limits
            ;;
        "stack test-config")
            echo_summary "Checking Picasso"
            picasso_check
            ;;
        unstack)
            picasso_stop
            ;;
        clean)
            picasso_clean
            ;;
    esac
fi
