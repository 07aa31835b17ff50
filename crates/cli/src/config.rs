//! `picasso config`.

use picasso_config::{Loaded, default_toml, reference_markdown};

use crate::CliFailure;
use crate::args::{ConfigCommand, ServeArgs};
use crate::output::{complain, print};

pub(crate) fn run(command: &ConfigCommand) -> Result<(), CliFailure> {
    match command {
        ConfigCommand::Show(args) => print(&load(args)?.show()),
        ConfigCommand::Check(args) => {
            load(args)?.with_secret_files().map_err(|faults| told(&faults))?;
            complain(&"the configuration is good");
            Ok(())
        }
        ConfigCommand::Default => print(&default_toml()),
        ConfigCommand::Reference => print(&reference_markdown()),
    }
}

fn load(args: &ServeArgs) -> Result<Loaded, CliFailure> {
    Loaded::load(&args.settings.inputs()).map_err(|faults| told(&faults))
}

fn told(faults: &picasso_config::ConfigFaults) -> CliFailure {
    CliFailure::new(faults.to_string())
}
