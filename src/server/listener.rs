//! Sockets that are listened on, and the streams that come from them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::error::Error;
use super::places::Places;
use crate::disk::private;
use crate::disk::socket::{self, UnixListenerId};

/// Which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the socket, from a process of our own user.
    Socket,
    /// Over TCP.
    Tcp,
}

/// The sockets of a sidecar. The one in the file system is taken away when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    /// The name goes before the listener does: as long as it answers, nobody else takes the name.
    unix: Option<(SocketFile, UnixListener)>,
    tcp: Option<TcpListener>,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: UnixListenerId,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = socket::remove(&self.path, &self.id) {
            tracing::warn!(path = %self.path.display(), %error, "cannot take the socket away");
        }
    }
}

impl Listener {
    pub(super) async fn open(places: &Places) -> Result<Self, Error> {
        let unix = places.socket.as_deref().map(open_socket).transpose()?;
        let tcp = match places.listen {
            None => None,
            Some(address) => {
                let failed = |source| Error::Listen { address, source };
                Some(TcpListener::bind(address).await.map_err(failed)?)
            }
        };
        if unix.is_none() && tcp.is_none() {
            return Err(Error::Nowhere);
        }
        Ok(Self { unix, tcp })
    }

    /// The path of the socket.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(|(file, _)| file.path.as_path())
    }

    /// The address for TCP, with the port that was given where any was asked for.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Waits for the next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        tokio::select! {
            accepted = accept_unix(self.unix.as_ref()) => Ok(Stream::Unix(accepted?)),
            accepted = accept_tcp(self.tcp.as_ref()) => Ok(Stream::Tcp(accepted?)),
        }
    }
}

fn open_socket(path: &Path) -> Result<(SocketFile, UnixListener), Error> {
    let listener = socket::listen(path)?;
    let system = |doing| move |source| Error::System { doing, source };
    let id = UnixListenerId::at(path).map_err(system("look at the socket"))?;
    let file = SocketFile { path: path.to_owned(), id };
    let listener = UnixListener::from_std(listener).map_err(system("listen on the socket"))?;
    Ok((file, listener))
}

async fn accept_unix(listener: Option<&(SocketFile, UnixListener)>) -> io::Result<UnixStream> {
    match listener {
        Some((_, listener)) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => {
            let (stream, _) = listener.accept().await?;
            // Answers are written whole; waiting for more would only delay them.
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        None => std::future::pending().await,
    }
}

/// A connection, whichever way it came.
#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Unix(_) => Way::Socket,
            Self::Tcp(_) => Way::Tcp,
        }
    }

    /// Whether the process at the other end may talk to us. The directory keeps other users out
    /// already, but for root, and but for a directory that was opened to them since.
    pub(super) fn check_peer(&self) -> Result<(), String> {
        let Self::Unix(stream) = self else { return Ok(()) };
        let peer = stream.peer_cred().map_err(|error| error.to_string())?.uid();
        let own = private::own_uid();
        if peer == own { Ok(()) } else { Err(format!("user {peer} is not user {own}")) }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
