//! TCP connections of guests: to granted addresses, and to those that a granted name stands for.
//!
//! A guest looks names up itself, and connects to addresses. So each instance remembers what it was told of
//! granted names, and an address counts as the name for which it was given. There is no UDP, and nobody
//! connects to a guest.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host as _, HostResolveAddressStream as _, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket::Host as _;
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView as _};

use crate::runtime::reach::{Grant, Reach};
use crate::runtime::state::State;

/// As wasmtime names what is put in the place of its own functions; `tests/it/grants.rs` notices when it
/// names it otherwise.
const LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";
const CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";

/// Addresses that one instance remembers. Beyond it forgets all: the guest has to look names up again.
const ADDRESSES_MAX: usize = 1_024;

/// Names that one address is remembered for.
const NAMES_MAX: usize = 16;

/// What one instance knows of names.
#[derive(Clone, Default)]
pub(in crate::runtime) struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Names of the lookups that go on, by the number of their handle, which is used again.
    asked: HashMap<u32, Arc<str>>,
    /// Names for which an address was given.
    addresses: HashMap<IpAddr, Vec<Arc<str>>>,
}

impl Names {
    fn asked(&self, lookup: u32, name: &str) {
        self.0.lock().asked.insert(lookup, name.into());
    }

    fn answered(&self, lookup: u32, address: IpAddr) {
        let mut known = self.0.lock();
        let Some(name) = known.asked.get(&lookup).cloned() else { return };
        if known.addresses.len() >= ADDRESSES_MAX {
            known.addresses.clear();
        }
        let names = known.addresses.entry(address.to_canonical()).or_default();
        if names.len() < NAMES_MAX && !names.contains(&name) {
            names.push(name);
        }
    }

    fn of(&self, address: IpAddr) -> Vec<Arc<str>> {
        self.0.lock().addresses.get(&address.to_canonical()).cloned().unwrap_or_default()
    }
}

impl Reach {
    /// Whether anything is granted for sockets.
    pub(in crate::runtime) fn any_tcp(&self) -> bool {
        !self.tcp.is_empty()
    }

    /// Whether a guest may use an address; tells what is denied.
    pub(in crate::runtime) fn may_use(
        &self,
        names: &Names,
        address: SocketAddr,
        usage: SocketAddrUse,
    ) -> bool {
        match usage {
            // Every connection that goes out is bound to a port that the system chooses.
            SocketAddrUse::TcpBind if address.port() == 0 => true,
            SocketAddrUse::TcpConnect => self.may_connect(&names.of(address.ip()), address),
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => {
                let text = format!("to listen at {address}, which no grant allows");
                self.denials.note(Grant::Tcp, &text);
                false
            }
            _ => false,
        }
    }

    fn may_connect(&self, names: &[Arc<str>], address: SocketAddr) -> bool {
        let (ip, port) = (address.ip(), address.port());
        let by_name = |name: &Arc<str>| {
            self.tcp.iter().any(|grant| grant.covers_name(name, port, None) && grant.trusts(ip))
        };
        let allowed = self.tcp.iter().any(|grant| grant.covers_address(ip, port, None))
            || names.iter().any(by_name);
        if !allowed {
            let names = match names {
                [] => String::new(),
                names => format!(" ({})", names.join(", ")),
            };
            self.denials.note(Grant::Tcp, &format!("to connect to {address}{names}"));
        }
        allowed
    }

    /// Whether a guest may look a name up; tells what is denied.
    fn may_look_up(&self, name: &str) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // What is an address already asks nobody.
        let allowed = address.is_ok() || self.tcp.iter().any(|grant| grant.names(name));
        if !allowed {
            self.denials.note(Grant::Tcp, &format!("to look up the name '{name}'"));
        }
        allowed
    }
}

/// Puts functions that hold to the grants in the place of wasmtime's.
pub(in crate::runtime) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance(LOOKUP)?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, State>, (network, name): (Resource<Network>, String)| {
            Ok((look_up(store.data_mut(), network, name)?,))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (lookup,): (Resource<ResolveAddressStream>,)| {
            Ok((next_address(store.data_mut(), lookup)?,))
        },
    )?;
    let mut create = linker.instance(CREATE)?;
    create.func_wrap(
        "create-tcp-socket",
        |mut store: StoreContextMut<'_, State>, (family,): (IpAddressFamily,)| {
            Ok((make_socket(store.data_mut(), family)?,))
        },
    )
}

type Answer<T> = wasmtime::Result<Result<T, ErrorCode>>;

fn look_up(
    state: &mut State,
    network: Resource<Network>,
    name: String,
) -> Answer<Resource<ResolveAddressStream>> {
    if !state.environment.reach.may_look_up(&name) {
        return Ok(Err(ErrorCode::AccessDenied));
    }
    match state.sockets().resolve_addresses(network, name.clone()) {
        Ok(lookup) => {
            state.names.asked(lookup.rep(), &name);
            Ok(Ok(lookup))
        }
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn next_address(
    state: &mut State,
    lookup: Resource<ResolveAddressStream>,
) -> Answer<Option<IpAddress>> {
    let number = lookup.rep();
    match state.sockets().resolve_next_address(lookup) {
        Ok(address) => {
            if let Some(address) = &address {
                state.names.answered(number, plain(address));
            }
            Ok(Ok(address))
        }
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn make_socket(state: &mut State, family: IpAddressFamily) -> Answer<Resource<TcpSocket>> {
    if !state.environment.reach.any_tcp() {
        state.environment.reach.denials.note(Grant::Tcp, "a TCP socket");
    }
    match state.sockets().create_tcp_socket(family) {
        Ok(socket) => Ok(Ok(socket)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn plain(address: &IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Grants;
    use crate::config::grants::HostGrant;
    use crate::metrics::Metric;

    fn reach(tcp: &[&str]) -> (Reach, Metric) {
        let denied = Metric::default();
        let tcp = tcp.iter().map(|text| HostGrant::tcp(text).unwrap()).collect();
        let grants = Grants { tcp, ..Grants::default() };
        (Reach::new(&"s".into(), &grants, &[], denied.clone()), denied)
    }

    #[test]
    fn an_address_counts_as_the_name_for_which_it_was_given() {
        let (reach, denied) = reach(&["db:5432", "10.0.0.0/8:*", "*.example.org:80"]);
        let names = Names::default();
        let may = |address: &str| {
            reach.may_use(&names, address.parse().unwrap(), SocketAddrUse::TcpConnect)
        };
        assert!(may("10.1.2.3:1") && !may("192.168.0.5:5432"));
        assert!(reach.may_look_up("db") && !reach.may_look_up("web") && reach.may_look_up("::1"));
        names.asked(7, "db");
        names.answered(7, "192.168.0.5".parse().unwrap());
        assert!(may("192.168.0.5:5432") && !may("192.168.0.5:5433"));
        names.asked(7, "a.example.org");
        names.answered(7, "127.0.0.1".parse().unwrap());
        names.answered(7, "93.184.216.34".parse().unwrap());
        assert!(may("93.184.216.34:80") && !may("127.0.0.1:80"), "a name leads outside only");
        assert_eq!(denied.get(), 4);
    }

    #[test]
    fn nobody_listens_and_what_is_remembered_is_bounded() {
        let (reach, _) = reach(&["*:*"]);
        let names = Names::default();
        let address = "0.0.0.0:80".parse().unwrap();
        for usage in [SocketAddrUse::TcpBind, SocketAddrUse::TcpListen, SocketAddrUse::TcpAccept] {
            assert!(!reach.may_use(&names, address, usage));
        }
        assert!(reach.may_use(&names, "0.0.0.0:0".parse().unwrap(), SocketAddrUse::TcpBind));
        assert!(!reach.may_use(&names, address, SocketAddrUse::UdpBind));
        names.asked(1, "n");
        for n in 0..=5_000_u32 {
            names.answered(1, IpAddr::from(n.to_be_bytes()));
        }
        assert!(names.0.lock().addresses.len() <= ADDRESSES_MAX);
    }
}
