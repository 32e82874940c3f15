//! Whom a client verb talks to: the node on this machine, or a whole mesh that it joins for a moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::admin::client::Client;
use crate::admin::place;
use crate::broker::ServiceBroker;
use crate::cli::{self, ConfigArgs, Failure};
use crate::config::options::{ControlSocket, NodeOptions};
use crate::context::Caller;
use crate::logger;
use crate::uid;

/// Flags that say whom to talk to.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// Join the mesh there instead of asking the node on this machine, such as nats://localhost:4222
    #[arg(long, value_name = "URL", help_heading = "Target")]
    pub transporter: Option<String>,
    /// Namespace of the mesh
    #[arg(long, value_name = "NS", requires = "transporter", help_heading = "Target")]
    pub namespace: Option<String>,
    /// Control socket of the node, when there are several or it is elsewhere
    #[arg(
        long,
        value_name = "PATH",
        env = "ISOMER_SOCKET",
        conflicts_with = "transporter",
        help_heading = "Target"
    )]
    pub socket: Option<PathBuf>,
    /// Configuration of the node or mesh.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// How long joining a mesh may take.
const JOIN_TIME_MAX: Duration = Duration::from_secs(10);
/// In this time the nodes of a mesh have told what they offer.
const DISCOVERY_TIME: Duration = Duration::from_millis(600);
/// How long to wait for a service that the mesh has not told of yet.
const SERVICE_TIME_MAX: Duration = Duration::from_secs(3);

/// A way to a broker.
pub enum Target {
    /// The node on this machine.
    Node(Client),
    /// A broker of this process's own, as a member of a mesh.
    Mesh(ServiceBroker),
}

impl Target {
    /// Finds the node, or joins the mesh.
    ///
    /// # Errors
    /// [`Failure::Use`] for a bad configuration, [`Failure::Failed`] when nobody is there.
    pub async fn reach(args: &TargetArgs) -> Result<Self, Failure> {
        let flags = [
            cli::flag("transporter", "--transporter", args.transporter.as_ref()),
            cli::flag("namespace", "--namespace", args.namespace.as_ref()),
        ];
        let options = cli::configuration(&args.config, flags.into_iter().flatten().collect())?;
        if args.transporter.is_some() {
            return join(options).await.map(Self::Mesh);
        }
        let socket = args.socket.as_deref();
        let path = find_socket(socket, &options.control_socket, &place::standard_dir())?;
        Ok(Self::Node(Client::new(path)))
    }

    /// The broker.
    #[must_use]
    pub fn caller(&self) -> Arc<dyn Caller> {
        match self {
            Self::Node(client) => Arc::new(client.clone()),
            Self::Mesh(broker) => broker.as_caller(),
        }
    }

    /// Waits until a mesh that was just joined has told of the service of an action. When it does not, the
    /// call will say why.
    pub async fn wait_for_action(&self, action: &str) {
        if let (Self::Mesh(broker), Some((service, _))) = (self, action.rsplit_once('.')) {
            let services = vec![service.to_owned()];
            let _ = broker.wait_for_services(services, Some(SERVICE_TIME_MAX)).await;
        }
    }

    /// Waits until a mesh that was just joined has told of all its nodes.
    pub async fn wait_for_nodes(&self) {
        if matches!(self, Self::Mesh(_)) {
            tokio::time::sleep(DISCOVERY_TIME).await;
        }
    }

    /// Leaves the mesh.
    pub async fn leave(self) {
        if let Self::Mesh(broker) = self {
            broker.stop().await;
        }
    }
}

async fn join(options: NodeOptions) -> Result<ServiceBroker, Failure> {
    let mut broker_options = options.broker;
    // The configured ID is that of the node; two with one ID would fight.
    let unique: String = uid::new().chars().take(8).collect();
    broker_options.node_id = Some(format!("isomer-cli-{}-{unique}", std::process::id()));
    // A visitor has no calls to finish and nothing to take back.
    broker_options.tracking.enabled = false;
    broker_options.registry.stop_delay = Duration::ZERO;
    // Nor services to guard.
    broker_options.middlewares.clear();
    let broker = ServiceBroker::new(broker_options)
        .map_err(|error| Failure::Use(format!("the mesh cannot be joined: {error}")))?;
    logger::init(logger::Options {
        levels: crate::config::log::Levels {
            default: crate::config::log::Level::Warn,
            modules: Vec::new(),
        },
        format: options.log_format,
        colors: logger::Options::colors_wanted(),
        node_id: Arc::clone(broker.node_id()),
        namespace: Arc::from(broker.options().namespace.as_str()),
    });
    match tokio::time::timeout(JOIN_TIME_MAX, broker.start()).await {
        Ok(Ok(())) => Ok(broker),
        Ok(Err(error)) => Err(Failure::Failed(format!("the mesh cannot be joined: {error}"))),
        Err(_) => Err(Failure::Failed(format!(
            "the mesh could not be joined within {} s; is the server of --transporter running?",
            JOIN_TIME_MAX.as_secs()
        ))),
    }
}

/// The socket of the node on this machine: the flag's, the configuration's, or the one that answers.
///
/// # Errors
/// [`Failure`] with where was looked.
pub fn find_socket(
    flag: Option<&Path>,
    configured: &ControlSocket,
    dir: &Path,
) -> Result<PathBuf, Failure> {
    let given = match configured {
        ControlSocket::At(path) => Some(path.as_path()),
        ControlSocket::Standard | ControlSocket::Off => None,
    };
    if let Some(path) = flag.or(given) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Ok(path.to_owned());
        }
        return Err(no_node(path));
    }
    let listening = place::listening_in(dir);
    match listening.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(no_node(&dir.join("default.sock"))),
        several => {
            let lines: String =
                several.iter().map(|path| format!("\n  --socket {}", path.display())).collect();
            Err(Failure::Use(format!("several nodes run on this machine; choose one:{lines}")))
        }
    }
}

fn no_node(path: &Path) -> Failure {
    Failure::Failed(format!(
        "no node is running here (looked at {});\nstart one with `isomer start DIR`, or give \
         --transporter URL to ask a mesh",
        path.display()
    ))
}
