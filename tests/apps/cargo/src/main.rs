//! A page with one dependency, for the fixture buildpack fx-cargo.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8000".to_owned());
    for connection in TcpListener::bind(format!("0.0.0.0:{port}"))?.incoming() {
        let mut connection = connection?;
        for line in BufReader::new(&connection).lines() {
            if line?.is_empty() {
                break;
            }
        }
        let mut number = itoa::Buffer::new();
        let body = format!("<p>Hello from Cargo, process {}</p>\n", number.format(std::process::id()));
        write!(
            connection,
            "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}
