//! One connection: reads requests, applies faults, and writes answers.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crate::access::User;
use crate::api::{Context, Reply, act};
use crate::call::Call;
use crate::http::{Answer, Reader, Received, Request};
use crate::inbox::wait_for_hangup;
use crate::server::Shared;
use crate::status::Refusal;
use crate::watch::{End, Watch};
use crate::wire::Wire;
use crate::{Fault, RequestSeen};

/// Serves a connection until it ends. `number` is its place in the order of all connections.
pub(crate) fn serve(shared: &Shared, number: u64, stream: Arc<TcpStream>) {
    let tls = shared.tls_config();
    let Ok(wire) = Wire::new(Arc::clone(&stream), Arc::clone(&shared.gate), tls) else {
        return;
    };
    let mut connection = Connection { shared, number, wire, reader: Reader::default() };
    // An error means that the client is gone or the server stops, so there is nobody to report it to.
    if let Ok(Close::Reset) = connection.run() {
        connection.wire.reset_on_close();
    } else {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    wire: Wire,
    reader: Reader,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Close {
    Plainly,
    Reset,
}

/// `None`: the connection continues after a request.
type Next = Option<Close>;

/// A request that is being processed.
struct Exchange {
    request: Request,
    call: Call,
    /// Its number in the log.
    number: u64,
}

/// What the server did, and has to answer.
enum Outcome<'a> {
    Answer(Answer),
    Watch(Watch<'a>),
}

impl<'a> Connection<'a> {
    fn run(&mut self) -> io::Result<Close> {
        loop {
            let request = match self.reader.receive(&mut self.wire)? {
                Received::Request(request) => request,
                Received::Closed => return Ok(Close::Plainly),
                Received::Unreadable(refusal) => {
                    self.wire.send(&Answer::refusal(&refusal).to_bytes(false))?;
                    self.wire.close_gently();
                    return Ok(Close::Plainly);
                }
            };
            if let Some(close) = self.exchange(request)? {
                return Ok(close);
            }
        }
    }

    fn exchange(&mut self, mut request: Request) -> io::Result<Next> {
        let mut call = Call::of(&request);
        let seen = self.seen(&request, &call);
        let number = self.shared.log.add(seen.clone());
        let fault = self.shared.faults.claim(&seen);
        if let Some(Fault::DropSelector) = fault {
            request.drop_parameter("fieldSelector");
            call = Call::of(&request);
        }
        let exchange = Exchange { request, call, number };
        match &fault {
            Some(Fault::Committed(inner)) => {
                drop(self.act(&exchange)?);
                match self.instead(&exchange, inner)? {
                    Some(next) => Ok(next),
                    None => Ok(Some(Close::Plainly)),
                }
            }
            Some(fault) => match self.instead(&exchange, fault)? {
                Some(next) => Ok(next),
                None => self.act_and_answer(&exchange, Some(fault)),
            },
            None => self.act_and_answer(&exchange, None),
        }
    }

    fn seen(&self, request: &Request, call: &Call) -> RequestSeen {
        let (user, groups) = self.user(request).map(|user| (user.name, user.groups)).unzip();
        let groups = groups.unwrap_or_default();
        RequestSeen {
            when: Instant::now(),
            answered: None,
            method: request.method.clone(),
            path: request.target.clone(),
            verb: call.attributes.verb,
            resource: call.attributes.resource,
            namespace: call.attributes.namespace.clone(),
            name: call.attributes.name.clone(),
            user,
            groups,
            user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
            body: request.body.as_slice().into(),
            status: None,
            connection: self.number,
        }
    }

    /// Whom the client's certificate names, or else its token; none if what it has is not known.
    fn user(&self, request: &Request) -> Option<User> {
        let authorization = request.header("authorization");
        let shown = self.wire.client_certificates();
        let known = self.shared.clients.as_ref().zip(shown).and_then(|(clients, chain)| clients.user(chain));
        match (known, shown, authorization) {
            (Some(user), ..) => Some(user),
            (None, Some(_), None) => None,
            (None, ..) => self.shared.access.user(authorization),
        }
    }

    /// Carries out a request, while nothing can freeze the server. The token or the certificate is verified only now,
    /// so a delayed request may fail.
    fn act(&self, exchange: &Exchange) -> io::Result<Outcome<'a>> {
        let _inside = self.shared.gate.enter()?;
        let user = self.user(&exchange.request);
        let context =
            Context { shared: self.shared, request: &exchange.request, call: &exchange.call, user: user.as_ref() };
        Ok(match act(&context) {
            Reply::Answer(answer) => Outcome::Answer(answer),
            Reply::Watch(plan) => Outcome::Watch(plan.open(&self.shared.store, &self.wire)?),
        })
    }

    /// What a fault does instead of carrying out the request; none if the request is carried out.
    fn instead(&mut self, exchange: &Exchange, fault: &Fault) -> io::Result<Option<Next>> {
        let next = match fault {
            Fault::DropRequest => Some(Close::Plainly),
            Fault::ResetRequest => Some(Close::Reset),
            Fault::HangRequest => self.hang(),
            Fault::DelayRequest(time) => {
                self.shared.gate.sleep(*time)?;
                return Ok(None);
            }
            Fault::Status { code, retry_after } => {
                let answer = Answer::refusal(&Refusal::made_up(*code, *retry_after));
                self.answer(exchange, &answer)?
            }
            Fault::Redirect(location) => {
                let answer = Answer { code: 307, ..Answer::text("") };
                self.answer(exchange, &answer.with("Location", location))?
            }
            Fault::Raw(bytes) => {
                self.wire.send(bytes)?;
                self.wire.close_gently();
                Some(Close::Plainly)
            }
            Fault::RawThenStall(bytes) => {
                self.wire.send(bytes)?;
                self.hang()
            }
            Fault::HugeAnswer(length) => self.huge_answer(exchange, *length)?,
            _ => return Ok(None),
        };
        Ok(Some(next))
    }

    fn act_and_answer(&mut self, exchange: &Exchange, fault: Option<&Fault>) -> io::Result<Next> {
        let outcome = self.act(exchange)?;
        match fault {
            Some(Fault::DropAnswer) => return Ok(Some(Close::Plainly)),
            Some(Fault::ResetAnswer) => return Ok(Some(Close::Reset)),
            Some(Fault::HangAnswer) => return Ok(self.hang()),
            Some(Fault::DelayAnswer(time)) => self.shared.gate.sleep(*time)?,
            _ => {}
        }
        match (outcome, fault) {
            (Outcome::Watch(watch), fault) => self.watch(exchange, &watch, fault),
            (Outcome::Answer(answer), Some(Fault::HalfAnswer)) => {
                self.half(exchange, &answer)?;
                Ok(Some(Close::Plainly))
            }
            (Outcome::Answer(answer), Some(Fault::StallAnswer)) => {
                self.half(exchange, &answer)?;
                Ok(self.hang())
            }
            (Outcome::Answer(answer), Some(Fault::EditAnswer(edit))) => {
                let mut json = serde_json::from_slice(&answer.body).unwrap_or_default();
                edit(&mut json);
                self.answer(exchange, &Answer { body: json.to_string().into_bytes(), ..answer })
            }
            (Outcome::Answer(answer), _) => self.answer(exchange, &answer),
        }
    }

    fn answer(&mut self, exchange: &Exchange, answer: &Answer) -> io::Result<Next> {
        let keep_alive = exchange.request.keep_alive;
        self.shared.log.answered(exchange.number, answer.code);
        self.wire.send(&answer.to_bytes(keep_alive))?;
        if keep_alive {
            return Ok(None);
        }
        self.wire.close_gently();
        Ok(Some(Close::Plainly))
    }

    fn half(&mut self, exchange: &Exchange, answer: &Answer) -> io::Result<()> {
        let bytes = answer.to_bytes(exchange.request.keep_alive);
        let half = bytes.len() - answer.body.len() / 2;
        self.shared.log.answered(exchange.number, answer.code);
        self.wire.send(&bytes[..half])
    }

    fn watch(&mut self, exchange: &Exchange, watch: &Watch<'_>, fault: Option<&Fault>) -> io::Result<Next> {
        let keep_alive = exchange.request.keep_alive;
        let head = watch.head();
        self.shared.log.answered(exchange.number, head.code);
        self.wire.send(&head.head(None, keep_alive))?;
        match fault {
            Some(Fault::HalfAnswer) => return Ok(Some(Close::Plainly)),
            Some(Fault::StallAnswer) => return Ok(self.hang()),
            _ => {}
        }
        let end = watch.serve(&mut self.wire, fault)?;
        Ok((end == End::Broken || !keep_alive).then_some(Close::Plainly))
    }

    fn huge_answer(&mut self, exchange: &Exchange, length: u64) -> io::Result<Next> {
        let head = Answer::json(200, &serde_json::Value::Null).head(Some(length), false);
        self.shared.log.answered(exchange.number, 200);
        self.wire.send(&head)?;
        let piece = [b'x'; 16 * 1024];
        let mut left = length;
        while left > 0 {
            let count = left.min(piece.len() as u64);
            self.wire.send(&piece[..usize::try_from(count).unwrap_or(piece.len())])?;
            left -= count;
        }
        self.wire.close_gently();
        Ok(Some(Close::Plainly))
    }

    /// Keeps the connection open and silent until the client goes.
    fn hang(&self) -> Next {
        wait_for_hangup(self.wire.socket());
        Some(Close::Plainly)
    }
}
