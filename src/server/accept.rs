//! The accept loop of one listener. It never waits on a client: handshake and head happen in the connection's own task.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{BREATH, Listener, Shared, connection};

/// Accepts until `stopping` says so.
pub async fn accept(listener: Listener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let Listener {
        socket,
        tls,
        proxy_protocol,
        client_ca,
    } = listener;
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a listener cannot be used");
            return;
        }
    };
    let room = || match &client_ca {
        Some(client_ca) => shared.tls.as_ref()?.asking(client_ca),
        None => shared.tls.clone(),
    };
    let tls = match tls.then(room) {
        None => None,
        Some(Some(room)) => Some(room),
        // Never less than was asked for.
        Some(None) => {
            tracing::error!("a listener has no certificates to serve with");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Beyond the cap this client waits, and in the kernel's queue those behind it, where they cost nothing.
                // A place that was taken before would be kept from the other listeners for nobody.
                let place = tokio::select! {
                    place = shared.connections.clone().acquire_owned() => place,
                    _ = stopping.wait_for(|stop| *stop) => return,
                };
                let Ok(place) = place else { return };
                let (shared, stopping, tls) = (shared.clone(), stopping.clone(), tls.clone());
                tokio::spawn(async move {
                    connection::serve(stream, peer, tls, proxy_protocol, shared, stopping).await;
                    drop(place);
                });
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no further connection can be accepted for a moment; see LimitNOFILE");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// The client went away while it waited: nothing is wrong here.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
