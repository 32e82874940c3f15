//! `isomer start`: builds the node, says where it is, waits for a signal and stops it.
//!
//! Order at the start: configuration, broker, place of the control socket (so that mistakes show before
//! anything runs), mesh, socket, components. At the stop: socket and broker together, since both let
//! running calls finish.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::place::{self, Claim};
use crate::admin::protocol::Versions;
use crate::admin::server::{Server, VersionKeeper};
use crate::broker::ServiceBroker;
use crate::cli::component::{runtime, state_dir};
use crate::cli::notify::Manager;
use crate::cli::table::printable;
use crate::cli::{self, ConfigArgs, Done, Failure};
use crate::config::load::{Configuration, Flag};
use crate::config::options::{ControlSocket, NodeOptions};
use crate::config::{Transporter, mask};
use crate::error::explained;
use crate::logger;
use crate::registry::listing::Filter;
use crate::reload::{Loaded, Middlewares, Reloader, Shelf};
use crate::runtime::Runtime;
use crate::task::CancellationToken;

/// Flags of `start`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer start services
  isomer start services --transporter nats://localhost:4222 --namespace dev
  isomer start posts.wasm users.wasm --no-hot

SIGINT or SIGTERM stops the node when its running calls are finished; a second one stops it at once.
Every option of the configuration can also be a variable, such as MOL_REQUEST_TIMEOUT=5000, or a flag,
such as --set requestTimeout=5000. `isomer config` shows what is in force, and why.")]
pub struct StartArgs {
    /// Directories (with everything below them) and files with components [default: services]
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Do not pick up changed files while the node runs
    #[arg(long)]
    pub no_hot: bool,
    /// Other options.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Flags of a node, whatever it is started for.
#[derive(Debug, Default, Args)]
pub struct NodeArgs {
    /// Other options.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How to reach other nodes, such as nats://localhost:4222
    #[arg(long, value_name = "URL")]
    pub transporter: Option<String>,
    /// Separates meshes on one message broker
    #[arg(long, value_name = "NS")]
    pub namespace: Option<String>,
    /// Name of this node, unique in the mesh
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// fatal, error, warn, info, debug, trace; for single modules info,POSTS=debug
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Where the control socket is
    #[arg(long, value_name = "PATH", env = "ISOMER_SOCKET")]
    pub socket: Option<String>,
}

impl NodeArgs {
    fn flags(&self) -> Vec<Flag> {
        let flags = [
            cli::flag("transporter", "--transporter", self.transporter.as_ref()),
            cli::flag("namespace", "--namespace", self.namespace.as_ref()),
            cli::flag("nodeID", "--node-id", self.node_id.as_ref()),
            cli::flag("logLevel", "--log-level", self.log_level.as_ref()),
            cli::flag("controlSocket", "--socket", self.socket.as_ref()),
        ];
        flags.into_iter().flatten().collect()
    }

    /// The configuration with these flags.
    pub(super) fn options(&self) -> Result<NodeOptions, Failure> {
        cli::configuration(&self.config, self.flags())
    }
}

/// The exit code of a process that SIGINT ended, as shells count it.
const STOPPED_AT_ONCE: u8 = 130;

/// Runs a node until it is told to stop.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: StartArgs) -> Done {
    let mut flags = args.node.flags();
    let off = args.no_hot.then(|| "false".to_owned());
    flags.extend(cli::flag("hotReload", "--no-hot", off.as_ref()));
    let Configuration { options, warnings, .. } = cli::configured(&args.node.config, flags)?;
    let roots = roots(&args.paths)?;
    let broker = ServiceBroker::new(options.broker.clone())
        .map_err(|error| Failure::Use(error.to_string()))?;
    let claim = claim(&options.control_socket, broker.node_id())?;
    start_log(&options, &broker);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let manager = Manager::from_environment();
    let mut signals = Signals::new()?;
    let mut node = Node { broker, options, roots, server: None, reload: CancellationToken::new() };
    let started = tokio::select! {
        started = node.start(claim) => started.map(Some),
        () = signals.next() => Ok(None),
    };
    let failed = match started {
        Ok(Some(loaded)) => {
            node.greet(loaded)?;
            let status = format!("{} service(s), {} failed", loaded.in_service, loaded.failed);
            manager.ready(&status, &node.reload);
            signals.next().await;
            None
        }
        Ok(None) => None,
        Err(failure) => Some(failure),
    };
    tracing::info!("stopping; a second signal stops at once");
    manager.stopping(node.options.broker.tracking.shutdown_timeout);
    tokio::select! {
        () = node.stop() => failed.map_or(Ok(ExitCode::SUCCESS), Err),
        () = signals.next() => Ok(ExitCode::from(STOPPED_AT_ONCE)),
    }
}

/// The paths to watch; without any, `services`.
fn roots(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if paths.is_empty() {
        let standard = PathBuf::from("services");
        return match standard.is_dir() {
            true => Ok(vec![standard]),
            false => Err(Failure::Use(
                "there is no directory 'services' here; name one: isomer start DIR".into(),
            )),
        };
    }
    for path in paths {
        let wasm = path.extension().is_some_and(|extension| extension == "wasm");
        let problem = if !path.exists() {
            "there is no such file or directory"
        } else if path.is_file() && !wasm {
            "a component is a file whose name ends with .wasm"
        } else {
            continue;
        };
        return Err(Failure::Use(format!("{}: {problem}", path.display())));
    }
    Ok(paths.to_vec())
}

fn claim(socket: &ControlSocket, node_id: &str) -> Result<Option<Claim>, Failure> {
    let claim = match socket {
        ControlSocket::Off => return Ok(None),
        ControlSocket::At(path) => place::claim(path),
        ControlSocket::Standard => place::claim_in(&place::standard_dir(), node_id),
    };
    claim.map(Some).map_err(|error| {
        Failure::Failed(format!(
            "the control socket cannot be opened: {error}\n  choose another place with --socket PATH, \
             or none with controlSocket = false"
        ))
    })
}

fn start_log(options: &NodeOptions, broker: &ServiceBroker) {
    logger::init(logger::Options {
        levels: options.log_levels.clone(),
        format: options.log_format,
        colors: options.log_colors.unwrap_or_else(logger::Options::colors_wanted),
        node_id: Arc::clone(broker.node_id()),
        namespace: Arc::from(options.broker.namespace.as_str()),
    });
}

/// What runs, in the order in which it was started.
struct Node {
    broker: ServiceBroker,
    options: NodeOptions,
    roots: Vec<PathBuf>,
    server: Option<Server>,
    reload: CancellationToken,
}

impl Node {
    async fn start(&mut self, claim: Option<Claim>) -> Result<Loaded, Failure> {
        let node_id = Arc::clone(self.broker.node_id());
        let metrics = self.broker.metrics().clone();
        let dir = self.middleware_dir();
        let runtime = runtime(&self.options, node_id, metrics, self.private(claim.as_ref(), &dir))?;
        let middlewares = Middlewares::new(self.broker.clone(), runtime.clone(), dir);
        middlewares.load().await.map_err(|error| Failure::Failed(error.to_string()))?;
        let broker = self.broker.clone();
        // The components are the node's services: they hear `$broker.started`.
        let load = self.load(claim, middlewares, runtime);
        let started = broker.start_with(load).await;
        started.map_err(|error| Failure::Failed(explained(&error)))?
    }

    /// Opens the control socket and puts the components into service.
    async fn load(
        &mut self,
        claim: Option<Claim>,
        middlewares: Middlewares,
        runtime: Runtime,
    ) -> Result<Loaded, Failure> {
        let node_id = Arc::clone(self.broker.node_id());
        let shelf = self.shelf().await;
        let broker = self.broker.clone();
        let reloader = Reloader::with_shelf(broker, runtime, self.roots.clone(), shelf);
        if let Some(claim) = claim {
            let (info, versions) = (self.info(), version_keeper(&reloader));
            let caller = self.broker.as_caller();
            let server = Server::start(claim, caller, node_id, info, Some(versions));
            self.server = Some(server.map_err(|error| Failure::Failed(explained(&error)))?);
        }
        if self.options.broker.hot_reload {
            let followed = middlewares.follow(&self.reload);
            followed.map_err(|error| Failure::Failed(explained(&error)))?;
        }
        let loaded = reloader.start(self.options.broker.hot_reload, &self.reload).await;
        loaded.map_err(|error| Failure::Failed(explained(&error)))
    }

    /// Where versions of services are kept. Without it the node serves as well.
    async fn shelf(&self) -> Option<Shelf> {
        let dir = state_dir(&self.options)?.join("versions");
        let namespace = self.options.broker.namespace.clone();
        let opened = tokio::task::spawn_blocking(move || Shelf::open(&dir, &namespace)).await;
        match opened.ok()? {
            Ok(shelf) => Some(shelf),
            Err(error) => {
                let error = explained(&error);
                tracing::warn!(error, "versions of services are forgotten when this node stops");
                None
            }
        }
    }

    /// What no guest may see, whatever is granted: where the node finds and keeps components, and
    /// where it listens.
    fn private(&self, claim: Option<&Claim>, middlewares: &Path) -> Vec<PathBuf> {
        let mut private = self.roots.clone();
        private.push(middlewares.to_owned());
        private.extend(state_dir(&self.options));
        private.extend(claim.map(|claim| claim.path.clone()));
        private
    }

    /// The folder of middlewares: as configured, else beside that of the services.
    fn middleware_dir(&self) -> PathBuf {
        let beside = || {
            let root = self.roots.first().and_then(|root| std::path::absolute(root).ok());
            let parent = root.as_deref().and_then(Path::parent);
            parent.unwrap_or_else(|| Path::new("")).join("middlewares")
        };
        self.options.broker.middleware_dir.clone().unwrap_or_else(beside)
    }

    async fn stop(mut self) {
        self.reload.cancel();
        let grace = self.options.broker.tracking.shutdown_timeout;
        let server = self.server.take();
        let close = async {
            if let Some(server) = server {
                server.stop(grace).await;
            }
        };
        tokio::join!(close, self.broker.stop());
    }

    fn info(&self) -> Value {
        json!({
            "nodeID": &**self.broker.node_id(),
            "namespace": &self.options.broker.namespace,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            // Where `isomer dev --attach` puts components.
            "services": self.roots.iter().flat_map(std::path::absolute).collect::<Vec<_>>(),
        })
    }

    /// Says where the node is and what to try next.
    fn greet(&self, loaded: Loaded) -> std::io::Result<()> {
        let text = self.greeting(loaded);
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    fn greeting(&self, loaded: Loaded) -> String {
        let broker = &self.options.broker;
        let namespace = if broker.namespace.is_empty() { "(none)" } else { &broker.namespace };
        let shown =
            |urls: &[String]| urls.iter().map(|url| mask::text(url)).collect::<Vec<_>>().join(", ");
        let transporter = match &broker.transporter {
            None => "none: this node is on its own".to_owned(),
            Some(Transporter::Nats { urls } | Transporter::Redis { urls }) => shown(urls),
            Some(Transporter::Amqp(options)) => shown(&options.urls),
            Some(Transporter::Mqtt(options)) => shown(&options.urls),
            Some(Transporter::Kafka(options)) => {
                format!("kafka://{}", options.bootstrap_brokers.join(","))
            }
            Some(Transporter::Tcp(_)) => "TCP, without a server".to_owned(),
            Some(Transporter::Fake { bus }) => format!("in this process ({bus})"),
        };
        let socket = self
            .server
            .as_ref()
            .map_or_else(|| "none".to_owned(), |server| server.path().display().to_string());
        let failed = match loaded.failed {
            0 => String::new(),
            n => format!("; {n} file(s) cannot be used, `isomer services` says why"),
        };
        let services = self.services();
        let names = if services.is_empty() {
            format!("none yet; drop a .wasm file into {}", shown_roots(&self.roots))
        } else {
            services.join(", ")
        };
        format!(
            "\nnode         {}\nnamespace    {namespace}\ntransporter  {transporter}\n\
             socket       {socket}\nservices     {names}{failed}\n\n\
             try          isomer actions\n\n",
            self.broker.node_id(),
        )
    }

    fn services(&self) -> Vec<String> {
        let filter = Filter {
            only_local: true,
            only_available: true,
            skip_internal: true,
            ..Filter::default()
        };
        let listed = self.broker.registry().read().list_services(filter);
        let rows = listed.as_array().into_iter().flatten();
        rows.filter_map(|row| Some(printable(row.get("fullName")?.as_str()?))).collect()
    }
}

/// Lets the control socket ask about versions.
fn version_keeper(reloader: &Reloader) -> VersionKeeper {
    let reloader = reloader.clone();
    Arc::new(move |question| {
        let reloader = reloader.clone();
        Box::pin(async move {
            match question {
                Versions::List { service } => reloader.versions(&service),
                Versions::RollBack { service, version } => {
                    reloader.roll_back(&service, version.as_deref()).await
                }
                Versions::Grants => reloader.grants(),
            }
        })
    })
}

fn shown_roots(roots: &[PathBuf]) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// SIGINT and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Failed(format!("no signals: {error}")));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
