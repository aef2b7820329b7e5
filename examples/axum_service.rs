//! A real HTTP service with a host inside: every process of it serves every page, and the counts outlive all of them.
//!
//! ```text
//! axum_service --store file:///tmp/pages --name a --http 127.0.0.1:8080
//! axum_service --store file:///tmp/pages --name b --http 127.0.0.1:8081     # another terminal
//! curl -X POST http://127.0.0.1:8080/visits/home
//! curl http://127.0.0.1:8081/visits/home
//! ```
//!
//! Ctrl-C or SIGTERM: requests under way are answered, the slots are handed to the other process, and it ends. Without
//! arguments it serves on a temporary directory, tries itself, and ends.

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use holocron::{CallError, Client, Host, Ran};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How often a page was visited.
#[derive(Default, Serialize, Deserialize)]
struct Page {
    visits: u64,
}

#[holocron::vnode(kind = "page")]
impl Page {
    /// Counts a visit; returns how many there are.
    #[command]
    fn visit(&mut self) -> u64 {
        self.visits += 1;
        self.visits
    }

    /// How many there are.
    #[query]
    fn visits(&self) -> u64 {
        self.visits
    }
}

/// A failed call, as an answer: it says whether trying again is safe.
struct Failed(CallError);

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match self.0.ran() {
            // Whoever tries again counts nothing twice.
            Ran::No => StatusCode::SERVICE_UNAVAILABLE,
            Ran::Unclear => StatusCode::GATEWAY_TIMEOUT,
            Ran::Yes => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}

async fn visit(
    State(client): State<Client>,
    Path(page): Path<String>,
) -> Result<Json<u64>, Failed> {
    Ok(Json(client.get::<Page>(&page).visit().await?))
}

async fn visits(
    State(client): State<Client>,
    Path(page): Path<String>,
) -> Result<Json<u64>, Failed> {
    Ok(Json(client.get::<Page>(&page).visits().await?))
}

/// Serves until `ends` completes, then leaves the cluster.
async fn serve(
    host: Host,
    listener: TcpListener,
    ends: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let app =
        Router::new().route("/visits/{page}", post(visit).get(visits)).with_state(host.client());
    axum::serve(listener, app).with_graceful_shutdown(ends).await?;
    // No request is under way any more. The slots go to another host before this one ends.
    host.leave().await;
    Ok(())
}

async fn told_to_end() {
    let mut terminated = signal(SignalKind::terminate()).expect("a signal can be awaited");
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        biased;
        _ = terminated.recv() => {}
        _ = interrupted => {}
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let Some(store) = argument("--store") else { return try_itself().await };
    let name = argument("--name").ok_or("--name is missing")?;
    let address = argument("--http").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    if let Some(folder) = store.strip_prefix("file://") {
        std::fs::create_dir_all(folder)?;
    }
    let host = Host::builder(&store).name(&name).vnode::<Page>().start().await?;
    let listener = TcpListener::bind(&address).await?;
    println!("{name} serves http://{}", listener.local_addr()?);
    serve(host, listener, told_to_end()).await
}

/// Serves on a temporary directory and sends itself some requests.
async fn try_itself() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = format!("file://{}", folder.path().display());
    let host = Host::builder(&store).vnode::<Page>().start().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (end, ends) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let ends = async { ends.await.unwrap_or_default() };
        serve(host, listener, ends).await.map_err(|error| error.to_string())
    });
    for (method, expected) in [("POST", "1"), ("POST", "2"), ("GET", "2")] {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "{method} /visits/home HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
        println!("{method} /visits/home: {body}");
        assert_eq!(body, expected, "{answer}");
    }
    drop(end);
    serving.await??;
    Ok(())
}
