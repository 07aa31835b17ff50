//! RabbitMQ without its wrapper scripts' folders, user and cookie of the machine.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use crate::place::Place;

/// The start script that does not change the user; Debian's in the path wants to be `rabbitmq`.
pub(super) const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The command that starts a node with all its files in `root`.
pub(super) fn command(
    root: &Path,
    place: &Place,
    [port, distribution, mapper]: [u16; 3],
    password: &str,
    tls: Option<&super::TlsFiles>,
) -> std::io::Result<Command> {
    let address = place.address();
    let config = root.join("rabbitmq.conf");
    let listener = tls.map_or_else(
        || format!("listeners.tcp.1 = {address}:{port}\n"),
        |files| {
            let (certificate, key) = (files.certificate.display(), files.key.display());
            format!(
                "listeners.tcp = none\nlisteners.ssl.1 = {address}:{port}\n\
                 ssl_options.certfile = {certificate}\nssl_options.keyfile = {key}\n\
                 ssl_options.verify = verify_none\n"
            )
        },
    );
    std::fs::write(
        &config,
        format!(
            "{listener}\
             default_user = picasso\ndefault_pass = {password}\n\
             log.console = true\nlog.file = false\ndisk_free_limit.absolute = 50MB\n"
        ),
    )?;
    std::fs::write(root.join("enabled_plugins"), "[].\n")?;
    std::fs::write(root.join("rabbitmq-env.conf"), "")?;
    // The secret of Erlang's own protocol; the test's folder is private to its user anyway.
    let cookie = root.join(".erlang.cookie");
    if !cookie.exists() {
        use std::io::Write;
        let mut file = std::fs::File::options().create_new(true).write(true).mode(0o400).open(cookie)?;
        file.write_all(b"COOKIEOFTHETESTS")?;
    }
    let mut command = place.command(SERVER);
    command
        .env("HOME", root)
        .env("RABBITMQ_NODENAME", format!("picasso-test-{port}@localhost"))
        .env("RABBITMQ_MNESIA_BASE", root.join("data"))
        .env("RABBITMQ_LOG_BASE", root.join("log"))
        .env("RABBITMQ_CONFIG_FILE", config)
        .env("RABBITMQ_CONF_ENV_FILE", root.join("rabbitmq-env.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", root.join("enabled_plugins"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("RABBITMQ_PID_FILE", root.join("pid"))
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // The script becomes the server, under the same process id.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        // A map of names that the server starts would stay behind.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
        );
    Ok(command)
}

/// The command of the map from names of nodes to ports; it listens on loopback, too.
pub(super) fn mapper(place: &Place, [_, port]: [u16; 2]) -> Command {
    let mut command = place.command("/usr/bin/epmd");
    command.args(["-port", &port.to_string(), "-address", &place.address().to_string()]);
    command
}

/// Whether the boot has come to its end.
pub(super) fn is_up(root: &Path) -> bool {
    std::fs::read_to_string(root.join("rabbitmq.log")).is_ok_and(|log| {
        log.rsplit("Starting RabbitMQ").next().is_some_and(|last| last.contains("Server startup complete"))
    })
}
