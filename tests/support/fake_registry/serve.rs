//! One request after another, and the rules that break them.

use std::io::{self, Write};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::wire::{Answer, Connection, Request};
use super::{Action, State};

/// Deals with one request; false ends the connection.
pub(super) fn serve(
    connection: &mut Connection,
    request: &Request,
    state: &Mutex<State>,
) -> io::Result<bool> {
    let action = state.lock().unwrap().take_rule(request);
    if let Some(Action::CutRequest(limit)) = action {
        let body = connection.beginning(request, limit)?;
        let mut state = state.lock().unwrap();
        if let Some(session) = session_of(&request.target).and_then(|id| state.sessions.get_mut(&id)) {
            session.extend(&body);
        }
        state.record(request, body, 0);
        return Ok(false);
    }
    let body = connection.body(request)?;
    if let Some(Action::Delay(pause)) = action {
        state.lock().unwrap().delayed.push(request.target.clone());
        thread::sleep(pause);
    }
    if let Some(Action::Hold) = action {
        hold(request, state);
    }
    let mut answer = match &action {
        Some(Action::Answer(status, headers, body)) => {
            let answer = Answer::new(*status).body(body.clone());
            let add = |answer: Answer, (name, value): &(&str, String)| answer.header(name, value);
            headers.iter().fold(answer, add)
        }
        _ => state.lock().unwrap().answer(request, &body),
    };
    state.lock().unwrap().record(request, body, answer.status);
    match action {
        Some(Action::LoseAnswer) => return Ok(false),
        Some(Action::CutAnswer(limit)) => {
            connection.send_head(&answer)?;
            let end = limit.min(answer.body.len());
            connection.stream.write_all(&answer.body[..end])?;
            return Ok(false);
        }
        Some(Action::Drip(parts, pause)) => {
            drip(connection, &answer, parts, pause)?;
            return Ok(true);
        }
        Some(Action::FlipByte) => answer.body[0] ^= 1,
        Some(Action::Append(extra)) => answer.body.extend(vec![b'x'; extra]),
        Some(Action::Header(name, value)) => {
            answer
                .headers
                .retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            answer.headers.push((name.to_owned(), value));
        }
        _ => {}
    }
    connection.send(request, &answer)?;
    Ok(true)
}

/// Waits for the next release.
fn hold(request: &Request, state: &Mutex<State>) {
    let releases = {
        let mut state = state.lock().unwrap();
        state.delayed.push(request.target.clone());
        state.releases
    };
    while state.lock().unwrap().releases == releases {
        thread::sleep(Duration::from_millis(5));
    }
}

fn drip(connection: &mut Connection, answer: &Answer, parts: usize, pause: Duration) -> io::Result<()> {
    connection.send_head(answer)?;
    for part in answer.body.chunks(answer.body.len().div_ceil(parts).max(1)) {
        connection.stream.write_all(part)?;
        thread::sleep(pause);
    }
    Ok(())
}

fn session_of(target: &str) -> Option<String> {
    let (_, rest) = target.split_once("/blobs/uploads/")?;
    let id = rest.split('?').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}
