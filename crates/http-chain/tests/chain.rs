//! The order of a chain: gates, wraps, handlers, hand-back, first and last, ports, panics.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use http_chain::{
    Body, BoxFuture, Chain, Chains, Exchange, Gate, Next, Ports, Request, Response, Stage, Wrap,
};

/// Writes down who saw what, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn gate(&self, name: &'static str) -> Stage {
        Stage::gate(JournalGate {
            name,
            journal: self.clone(),
            answers: false,
        })
    }

    fn answering_gate(&self, name: &'static str) -> Stage {
        Stage::gate(JournalGate {
            name,
            journal: self.clone(),
            answers: true,
        })
    }

    fn wrap(&self, name: &'static str) -> Stage {
        Stage::wrap(JournalWrap {
            name,
            journal: self.clone(),
        })
    }

    fn handler(&self, name: &'static str, path: &'static str) -> Stage {
        let journal = self.clone();
        Stage::handler(move |request: Request| {
            journal.note(format!("? {name}"));
            async move {
                if request.pathname() == path {
                    return ControlFlow::Break(Response::from(name));
                }
                ControlFlow::Continue(request)
            }
        })
    }
}

struct JournalGate {
    name: &'static str,
    journal: Journal,
    answers: bool,
}

impl Gate for JournalGate {
    fn enter(&self, _: &Exchange, _: &mut Request) -> ControlFlow<Response> {
        self.journal.note(format!("> {}", self.name));
        match self.answers {
            true => ControlFlow::Break(Response::from(self.name)),
            false => ControlFlow::Continue(()),
        }
    }

    fn leave(&self, _: &Exchange, response: &mut Response) {
        self.journal
            .note(format!("< {} {}", self.name, response.status().as_u16()));
    }
}

struct JournalWrap {
    name: &'static str,
    journal: Journal,
}

impl Wrap for JournalWrap {
    fn wrap<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            self.journal.note(format!("( {}", self.name));
            let response = next.run(request).await;
            self.journal.note(format!(") {}", self.name));
            response
        })
    }
}

async fn get(chain: &Chain, path: &str) -> (u16, String) {
    let response = chain.answer(Request::new(Method::GET, path).unwrap()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect(1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn gates_are_left_in_reverse_and_see_whatever_answered() {
    let journal = Journal::default();
    let chain = Chain::new([
        ("a", journal.gate("a")),
        ("w", journal.wrap("w")),
        ("b", journal.gate("b")),
        ("one", journal.handler("one", "/one")),
        ("c", journal.gate("c")),
        ("two", journal.handler("two", "/two")),
    ]);
    assert_eq!(get(&chain, "/one").await, (200, "one".to_owned()));
    assert_eq!(
        journal.take(),
        ["> a", "( w", "> b", "? one", "< b 200", ") w", "< a 200"]
    );
    assert_eq!(get(&chain, "/two").await, (200, "two".to_owned()));
    assert_eq!(
        journal.take(),
        [
            "> a", "( w", "> b", "? one", "> c", "? two", "< c 200", "< b 200", ") w", "< a 200"
        ]
    );
}

#[tokio::test]
async fn the_end_of_the_list_is_404_not_found_as_text() {
    let chain = Chain::new([("one", Journal::default().handler("one", "/one"))]);
    let response = chain
        .answer(Request::new(Method::GET, "/other").unwrap())
        .await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        response.into_body().collect(100).await.unwrap(),
        "Not found\n"
    );
}

#[tokio::test]
async fn a_gate_that_answers_does_not_see_its_answer_but_outer_gates_do() {
    let journal = Journal::default();
    let chain = Chain::new([
        ("outer", journal.gate("outer")),
        ("stop", journal.answering_gate("stop")),
        ("one", journal.handler("one", "/one")),
    ]);
    assert_eq!(get(&chain, "/one").await, (200, "stop".to_owned()));
    assert_eq!(journal.take(), ["> outer", "> stop", "< outer 200"]);
}

#[tokio::test]
async fn the_last_registered_first_runs_first_inside_the_edge() {
    let journal = Journal::default();
    let mut chains = Chains::default();
    chains.last(Ports::All, "rest", journal.handler("rest", "/x"));
    chains.first(Ports::All, "early", journal.handler("early", "/x"));
    chains.edge(Ports::All, "log", journal.gate("log"));
    chains.first(Ports::All, "earlier", journal.handler("earlier", "/never"));
    let chain = chains.chain_for("http.port");
    assert_eq!(
        chain.stage_names().collect::<Vec<_>>(),
        ["log", "earlier", "early", "rest"]
    );
    assert_eq!(get(&chain, "/x").await, (200, "early".to_owned()));
    assert_eq!(
        journal.take(),
        ["> log", "? earlier", "? early", "< log 200"]
    );
}

#[tokio::test]
async fn each_port_has_its_own_chain_and_services_on_one_port_cascade() {
    let journal = Journal::default();
    let mut chains = Chains::default();
    chains.last(Ports::All, "auth", journal.gate("auth"));
    chains.last(
        Ports::application(),
        "rest",
        journal.handler("rest", "/rest"),
    );
    chains.last(
        Ports::Named(vec!["ops".into(), "http.port".into()]),
        "ops",
        journal.handler("ops", "/ops"),
    );
    let names = |port: &str| {
        chains
            .chain_for(port)
            .stage_names()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(names("http.port"), ["auth", "rest", "ops"]);
    assert_eq!(names("http.securePort"), ["auth", "rest"]);
    assert_eq!(names("ops"), ["auth", "ops"]);
    assert_eq!(names("other"), ["auth"]);
    let shared = chains.chain_for("http.port");
    assert_eq!(get(&shared, "/rest").await.1, "rest");
    assert_eq!(get(&shared, "/ops").await.1, "ops");
    assert_eq!(get(&shared, "/neither").await.0, 404);
}

#[tokio::test]
async fn a_panic_costs_one_request_a_500_that_gates_see() {
    struct PanickingGate;
    impl Gate for PanickingGate {
        fn leave(&self, _: &Exchange, _: &mut Response) {
            panic!("gate");
        }
    }
    let journal = Journal::default();
    let chain = Chain::new([
        ("log", journal.gate("log")),
        (
            "bad",
            Stage::handler(|request: Request| async move {
                assert_eq!(request.pathname(), "/good", "handler");
                ControlFlow::Break(Response::from("good"))
            }),
        ),
    ]);
    assert_eq!(
        get(&chain, "/bad").await,
        (500, "Internal server error\n".to_owned())
    );
    assert_eq!(journal.take(), ["> log", "< log 500"]);
    assert_eq!(get(&chain, "/good").await, (200, "good".to_owned()));
    let chain = Chain::new([("gate", Stage::gate(PanickingGate))]);
    assert_eq!(get(&chain, "/").await.0, 500);
}

#[tokio::test]
async fn head_keeps_the_length_of_get_and_drops_the_body() {
    let chain = Chain::new([("one", Journal::default().handler("one", "/one"))]);
    let response = chain
        .answer(Request::new(Method::HEAD, "/one").unwrap())
        .await;
    assert_eq!(response.headers()["content-length"], "3");
    assert!(matches!(response.body(), Body::Empty));
}

#[tokio::test]
async fn notes_reach_the_way_out_and_the_caller_is_open_until_settled() {
    struct Noting;
    impl Gate for Noting {
        fn enter(&self, exchange: &Exchange, _: &mut Request) -> ControlFlow<Response> {
            exchange.leave_note(7_u32);
            ControlFlow::Continue(())
        }
        fn leave(&self, exchange: &Exchange, response: &mut Response) {
            assert!(exchange.caller().is_none());
            assert!(!exchange.is_conn_known());
            assert_eq!((exchange.url(), exchange.method()), ("/x?y", &Method::GET));
            response
                .set_header("x-note", &exchange.note::<u32>().unwrap().to_string())
                .unwrap();
        }
    }
    let renaming = Stage::handler(|mut request: Request| async move {
        request.set_pathname("/renamed").unwrap();
        ControlFlow::Continue(request)
    });
    let chain = Chain::new([("noting", Stage::gate(Noting)), ("renaming", renaming)]);
    let response = chain
        .answer(Request::new(Method::GET, "/x?y").unwrap())
        .await;
    assert_eq!(response.headers()["x-note"], "7");
}
