//! One Redis or a cluster of them, behind the same few questions.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use ::redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};

use crate::redis::Error;

/// Who connects.
pub enum Client {
    /// To one server.
    One(Box<::redis::Client>),
    /// To whoever has the key.
    Cluster(Box<ClusterClient>),
}

/// A connection that all requests share. Cheap to clone.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A server that has keys of its own.
pub enum Server {
    /// The only one.
    Only,
    /// A master of a cluster.
    Master {
        /// Its name or number.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Client {
    /// For one address, or for the nodes of a cluster.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(urls: &[String], cluster: bool) -> Result<Self, Error> {
        let address = |error: ::redis::RedisError| Error::Address { reason: error.to_string() };
        if cluster {
            let urls = urls.iter().map(String::as_str);
            let client = ClusterClient::new(urls).map_err(address)?;
            return Ok(Self::Cluster(Box::new(client)));
        }
        let url = urls.first().map_or("redis://127.0.0.1:6379", String::as_str);
        ::redis::Client::open(url).map(|client| Self::One(Box::new(client))).map_err(address)
    }

    /// Connects once. The limits on time are the caller's.
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::One(client) => {
                let none: Option<Duration> = None;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(none)
                    .set_response_timeout(none);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                connection.await.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl Connection {
    /// The servers that have keys of their own.
    pub(super) async fn servers(&mut self) -> RedisResult<Vec<Server>> {
        let Self::Cluster(cluster) = self else { return Ok(vec![Server::Only]) };
        type Slots = (u16, u16, (String, u16, Value));
        let slots: Vec<Value> = cmd("CLUSTER").arg("SLOTS").query_async(cluster).await?;
        let mut masters: Vec<(String, u16)> = Vec::new();
        for range in slots {
            // A range has its first and last slot, its master, and then its replicas.
            let Value::Array(mut range) = range else { continue };
            range.truncate(3);
            let (_, _, master): Slots = ::redis::from_redis_value(master_only(range))?;
            // It does not know its own address as long as no other node has joined it.
            if master.0.is_empty() {
                return Ok(vec![Server::Only]);
            }
            if !masters.contains(&(master.0.clone(), master.1)) {
                masters.push((master.0, master.1));
            }
        }
        Ok(masters.into_iter().map(|(host, port)| Server::Master { host, port }).collect())
    }

    /// Asks one of [`Connection::servers`].
    pub(super) async fn ask_at(&mut self, server: &Server, command: Cmd) -> RedisResult<Value> {
        match (self, server) {
            (Self::Cluster(cluster), Server::Master { host, port }) => {
                let (host, port) = (host.clone(), *port);
                let at = SingleNodeRoutingInfo::ByAddress { host, port };
                cluster.route_command(command, RoutingInfo::SingleNode(at)).await
            }
            (connection, _) => command.query_async(connection).await,
        }
    }
}

/// A range of slots in which the master is host, port and one value more.
fn master_only(mut range: Vec<Value>) -> Value {
    if let Some(Value::Array(master)) = range.last_mut() {
        master.truncate(2);
        master.push(Value::Nil);
    }
    Value::Array(range)
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
