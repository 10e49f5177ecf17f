//! Many connections that want little, and one that wants to be served.
//!
//! Two measurements of one run are compared: a healthy client alone, and beside the crowd. The whole crowd, 10,000 idle
//! and 500 slow connections, is for a quiet machine:
//! `MOTET_TEST_WHOLE_CROWD=1 cargo test --release -p core-listener --test load`.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use core_listener::{HttpConfig, Listener, RequestBody, Server, ServerHandle, service_fn};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Requests of one measurement.
const REQUESTS: usize = 2000;
/// Measurements, of which the best counts: others use this machine too.
const ROUNDS: usize = 5;

/// The server in a process of its own, so that each side has file descriptors for all connections.
struct ServerProcess {
    process: Child,
    /// Kept open: it has more to print.
    _printed: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl ServerProcess {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        let address = printed
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split_once(ADDRESS)?.1.parse().ok())
            .expect("the server says where it listens");
        Self {
            process,
            _printed: printed,
            address,
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What the server's address is printed after.
const ADDRESS: &str = "listening on ";

#[test]
#[ignore = "run by another test: the server of those below"]
fn serve() {
    raise_file_limit();
    let server = start();
    println!("{ADDRESS}{}", server.local_addr().unwrap());
    let _ = std::io::stdin().read(&mut [0]);
    server.force_close();
}

fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
}

struct Crowd {
    idle: usize,
    /// Each sends a byte a second.
    slow: usize,
}

fn start() -> ServerHandle {
    let listener = Listener::http(
        "http.port",
        "127.0.0.1:0".parse().unwrap(),
        HttpConfig::default(),
        |_| {
            service_fn(|_: Request<RequestBody>| async {
                Ok::<_, Infallible>(Response::new("hello".to_owned()))
            })
        },
    );
    let workers = NonZeroU16::new(2).unwrap();
    Server::new(workers).listen(listener).start().unwrap()
}

async fn exchange(client: &mut TcpStream) {
    client.write_all(REQUEST).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"hello") {
        assert_ne!(client.read_buf(&mut response).await.unwrap(), 0);
    }
}

/// The 99th percentile of the time that a request takes.
async fn p99(address: SocketAddr) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.set_nodelay(true).unwrap();
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let begin = Instant::now();
            exchange(&mut client).await;
            times.push(begin.elapsed());
        }
        times.sort();
        best = best.min(times[REQUESTS * 99 / 100]);
    }
    best
}

/// Sends a head byte by byte, and again, as long as it is polled.
async fn trickle(address: SocketAddr, phase: Duration) {
    let mut client = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(phase).await;
    for byte in REQUEST.iter().cycle() {
        client.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl Crowd {
    /// Connects all of them, from a thread of their own so that the client measures the server and not its
    /// own neighbours. They stay until the result is dropped.
    async fn gather(
        self,
        address: SocketAddr,
    ) -> (std::thread::JoinHandle<()>, oneshot::Sender<()>) {
        let (ready, is_ready) = oneshot::channel();
        let (stop, is_stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut idle = Vec::with_capacity(self.idle);
                for _ in 0..self.idle {
                    let mut client = TcpStream::connect(address).await.unwrap();
                    exchange(&mut client).await;
                    idle.push(client);
                }
                let mut slow = JoinSet::new();
                for n in 0..self.slow {
                    // Spread over the second.
                    let phase = Duration::from_secs(1) * n as u32 / self.slow as u32;
                    slow.spawn(trickle(address, phase));
                }
                // Every one of them has begun to send.
                tokio::time::sleep(Duration::from_millis(1100)).await;
                ready.send(()).unwrap();
                let _ = is_stopped.await;
            });
        });
        is_ready.await.unwrap();
        (thread, stop)
    }
}

async fn compare(crowd: Crowd, allowed: impl Fn(Duration) -> Duration) {
    let server = ServerProcess::start();
    let all = crowd.idle + crowd.slow;
    let alone = p99(server.address).await;
    let (thread, stop) = crowd.gather(server.address).await;
    let crowded = p99(server.address).await;
    println!("p99 alone {alone:?}, beside {all} others {crowded:?}");
    assert!(
        crowded <= allowed(alone),
        "p99 alone {alone:?}, beside {all} others {crowded:?}"
    );
    drop(stop);
    thread.join().unwrap();
}

/// The whole crowd of the requirement, for a quiet machine; otherwise a small one.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests says how quiet the machine is"
)]
fn is_whole_crowd_wanted() -> bool {
    std::env::var_os("MOTET_TEST_WHOLE_CROWD").is_some()
}

#[tokio::test]
async fn a_healthy_client_does_not_suffer_from_idle_and_slow_ones() {
    if is_whole_crowd_wanted() {
        raise_file_limit();
        let crowd = Crowd {
            idle: 10_000,
            slow: 500,
        };
        return compare(crowd, |alone| 2 * alone).await;
    }
    let crowd = Crowd {
        idle: 400,
        slow: 40,
    };
    // Other tests run at the same time; what must not be is waiting for the crowd.
    compare(crowd, |alone| 2 * alone + Duration::from_millis(20)).await;
}
