//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use picasso_config::Inputs;

/// Where the configuration is looked for when none is named.
const DEFAULT_CONFIG: &str = "/etc/picasso/picasso.toml";

/// Functions as a Service for OpenStack.
#[derive(Debug, Parser)]
#[command(name = "picasso", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Settings are explained by `picasso config reference`.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `picasso` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: API, function URLs and the engine that runs functions
    Serve(RunArgs),
    /// Build images, and load them into a running server
    #[command(subcommand)]
    Image(ImageCommand),
    /// Show, check and explain the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show and check the rules of who may do what
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Look after the database
    #[command(subcommand)]
    Db(DbCommand),
}

/// Where settings come from besides the environment.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// TOML file with the settings [default: /etc/picasso/picasso.toml where it exists]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Set one setting, over file and environment; may be repeated. For secrets use a file: other
    /// users of the machine can read the arguments of a process
    #[arg(long = "set", value_name = "SETTING=VALUE", global = true, value_parser = assignment)]
    pub set: Vec<(String, String)>,
}

impl Settings {
    /// The loader's inputs: the named or default file, the environment, the options.
    pub fn inputs(&self) -> Inputs {
        let default = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|path| path.exists());
        let inputs = Inputs::of_process(self.config.clone().or_else(default));
        self.set.iter().fold(inputs, |inputs, (name, value)| inputs.with_option(name, value, "--set"))
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("must be SETTING=VALUE, like listeners.api.port=10001".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `picasso serve`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Serve without Keystone: only the IronFunctions face, on http://127.0.0.1:8080
    #[arg(long)]
    pub standalone: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub settings: Settings,
}

impl RunArgs {
    /// The loader's inputs.
    pub fn inputs(&self) -> Inputs {
        let inputs = self.settings.inputs();
        if self.standalone { inputs.with_option("server.standalone", "true", "--standalone") } else { inputs }
    }
}

/// A command that needs nothing but settings.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub settings: Settings,
}

/// `picasso db`.
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the tables up to date with this version of Picasso
    Upgrade(ServeArgs),
    /// Say whether the tables fit this version of Picasso; changes nothing, ends with 1 when not
    Check(ServeArgs),
}

/// `picasso config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in force and where each came from; secrets are shown as ***
    Show(ServeArgs),
    /// Look for faults and tell all of them
    Check(ServeArgs),
    /// Print a commented TOML file with every setting
    Default,
    /// Print the reference of all settings as Markdown
    Reference,
}

/// `picasso policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print a commented policy file with every rule and its default
    Sample,
    /// Print the rules in force and where each comes from. Ends with 1 where a file names a rule that
    /// there is not, or rules refer to each other in a circle
    List(PolicyListArgs),
    /// Tell which rules a token passes. The token is read from the variable OS_TOKEN or from a file,
    /// as other users of the machine can read the arguments of a process
    Check(PolicyCheckArgs),
}

/// `picasso policy list`.
#[derive(Debug, Args)]
pub struct PolicyListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub settings: Settings,
}

/// `picasso policy check`.
#[derive(Debug, Args)]
pub struct PolicyCheckArgs {
    /// File whose first line is the token; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Ask for this rule alone, and end with 1 where the token does not pass it
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// The project that the request is about [default: the token's own]
    #[arg(long, value_name = "ID")]
    pub project: Option<String>,
    /// What else the request's URL names, like `app=hello`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = named_value)]
    pub target: Vec<(String, String)>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub settings: Settings,
}

fn named_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE, like app=hello".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The running server a command talks to.
#[derive(Debug, Clone, Args)]
pub struct Server {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub settings: Settings,
    /// The server's admin socket [default: what the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `picasso image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Load an image for all projects into the running server
    Load(LoadArgs),
    /// List the images that all projects share
    List(ListArgs),
    /// Remove an image that all projects share
    Rm(RemoveArgs),
    /// Make an image out of files, without Docker
    Build(BuildArgs),
}

/// `picasso image load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// An OCI image layout or a `docker save` archive, as a tar file, compressed or not; `-` reads
    /// standard input
    pub file: PathBuf,
    /// The name that routes will use, like `hello:1`
    #[arg(long, value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub server: Server,
}

/// `picasso image list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub server: Server,
}

/// `picasso image rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The image's name
    pub name: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become help text of the whole command")]
    pub server: Server,
}

/// `picasso image build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A file or folder to put into the image, and where; may be repeated. Without `:PATH` it goes
    /// to the image's root under its own name
    #[arg(long = "file", value_name = "FILE[:PATH]", required = true)]
    pub files: Vec<String>,
    /// The program to run and its arguments, a word each; may be repeated
    #[arg(long, value_name = "WORD", required = true, allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    /// A variable of the function's environment; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// The folder the program starts in
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub workdir: String,
    /// The user it runs as, `UID` or `UID:GID`
    #[arg(long, value_name = "UID[:GID]", default_value = "65534:65534")]
    pub user: String,
    /// The archive to write, an OCI image layout in a tar file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

impl Server {
    /// The admin socket: the option, else the configuration's.
    pub(crate) fn socket_path(&self) -> Result<PathBuf, crate::CliFailure> {
        if let Some(path) = &self.socket {
            return Ok(path.clone());
        }
        let loaded = picasso_config::Loaded::load_for_client(&self.settings.inputs())
            .map_err(|faults| crate::CliFailure::new(faults.to_string()))?;
        Ok(loaded.settings.admin_socket())
    }
}
