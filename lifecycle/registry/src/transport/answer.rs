//! What is answered.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use reqwest::Response;
use url::Url;

use super::failure::unreachable;
use super::host::Authorization;
use super::{Pace, Place, Request, Transport, shown};
use crate::credentials::{Credential, Found};
use crate::error::{Answer, read_reports};
use crate::{Error, Secret};

/// Error answers are read up to this.
pub(super) const MAX_REPORT: usize = 64 * 1024;

impl Transport {
    /// Turns an answer that was not hoped for into an error.
    pub(super) async fn expect(
        &self,
        place: &Place,
        request: &Request,
        response: Response,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Error> {
        if request.expect.contains(&response.status().as_u16()) {
            return Ok(response);
        }
        let found = self.credentials(place).await?;
        let known = found.credential.as_ref().map(Credential::secret);
        let sent = authorization.map(|authorization| &authorization.secret);
        let secrets: Vec<&Secret> = known.into_iter().chain(sent).collect();
        let error = self.refusal(&request.method, response, &secrets).await;
        Err(self.explain(error, place).await)
    }

    /// Reads what an answer says about itself.
    pub(super) async fn refusal(&self, method: &Method, response: Response, secrets: &[&Secret]) -> Error {
        let (url, status) = (shown(response.url()), response.status().as_u16());
        let retry_after = retry_after(response.headers(), self.settings.clock.now());
        // An answer that cannot be read is an answer still.
        let body = self.read_start(response, MAX_REPORT).await;
        Error::Status(Box::new(Answer {
            method: method.to_string(),
            url,
            status,
            reports: read_reports(&body, secrets),
            retry_after,
            note: None,
        }))
    }

    /// Adds to a refusal as whom we asked.
    pub(super) async fn explain(&self, error: Error, place: &Place) -> Error {
        match error {
            Error::Status(mut answer) if matches!(answer.status, 401 | 403) => {
                if let Ok(found) = self.credentials(place).await {
                    answer.note = Some(describe(&found, place));
                }
                Error::Status(answer)
            }
            other => other,
        }
    }

    /// Reads an answer whole; one that is larger than `limit` is an error.
    pub(crate) async fn read_whole(&self, mut response: Response, limit: usize) -> Result<Bytes, Error> {
        let url = response.url().clone();
        let (mut bytes, mut pace) = (Vec::new(), self.pace());
        while let Some(chunk) = self.next_chunk(&mut response, &mut pace).await? {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::Malformed {
                    url: shown(&url),
                    reason: format!("it is larger than {limit} bytes"),
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    async fn read_start(&self, mut response: Response, limit: usize) -> Vec<u8> {
        let (mut bytes, mut pace) = (Vec::new(), self.pace());
        while bytes.len() < limit
            && let Ok(Some(chunk)) = self.next_chunk(&mut response, &mut pace).await
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate(limit);
        bytes
    }

    /// The next bytes of an answer, if they come in time.
    pub(crate) async fn next_chunk(
        &self,
        response: &mut Response,
        pace: &mut Pace,
    ) -> Result<Option<Bytes>, Error> {
        let size = |chunk: &Result<Option<Bytes>, _>| match chunk {
            Ok(Some(bytes)) => bytes.len(),
            _ => 0,
        };
        match pace.wait(response.chunk(), size).await {
            Some(Ok(chunk)) => Ok(chunk),
            Some(Err(error)) => Err(unreachable(&Method::GET, response.url(), error)),
            None => Err(Error::TimedOut {
                method: Method::GET.to_string(),
                url: shown(response.url()),
                waiting_for: pace.lack(),
                after: pace.patience(),
            }),
        }
    }

    /// How fast an answer has to come.
    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.settings.timeouts.idle)
    }
}

/// The `Location` of an answer.
pub(crate) fn location(response: &Response) -> Result<Url, Error> {
    let value = response.headers().get(header::LOCATION);
    let text = value.map(|value| std::str::from_utf8(value.as_bytes()).unwrap_or_default());
    lead(response.url(), text).map_err(|reason| Error::Malformed {
        url: shown(response.url()),
        reason: reason.to_owned(),
    })
}

/// Where a `Location` leads, which may be relative to the address that was asked.
///
/// A registry behind a proxy that ends TLS may not know that it has TLS and name its own address without. For the
/// same host that is taken for what it is: we go on with TLS.
fn lead(asked: &Url, location: Option<&str>) -> Result<Url, &'static str> {
    const UNUSABLE: &str = "its Location is not an address that can be followed";
    let text = location.ok_or("its answer has no Location")?;
    let mut url = asked.join(text).map_err(|_| UNUSABLE)?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(UNUSABLE);
    }
    let same_host = url.host_str() == asked.host_str();
    let same_port = url.port().is_none() || url.port() == asked.port();
    if asked.scheme() == "https" && url.scheme() == "http" && same_host && same_port {
        url.set_scheme("https").map_err(|()| UNUSABLE)?;
        url.set_port(asked.port()).map_err(|()| UNUSABLE)?;
    }
    Ok(url)
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_date(text)?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. The two forms of before 1994 are not read.
pub(crate) fn parse_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let mut number = || parts.next()?.parse::<u64>().ok();
    let day = number()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    // Days since 1970, with years that begin in March, so that the leap day is the last one.
    let (shifted, place) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + (place * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(
        ((days * 24 + hour) * 60 + minute) * 60 + second,
    ))
}

/// As whom we asked, and what that means for whoever reads it.
fn describe(found: &Found, place: &Place) -> String {
    let source = &found.source;
    let mut text = match &found.credential {
        None => format!(
            "no credentials for {} were found, so it was asked without",
            place.host
        ),
        Some(Credential::Basic { username, .. }) => format!("it was asked as user {username:?} of {source}"),
        Some(Credential::IdentityToken(_)) => {
            format!("all there is for it is the identity token of {source}, which only a token server takes")
        }
        Some(Credential::RegistryToken(_)) => format!("it was asked with the token of {source}"),
    };
    for note in &found.notes {
        text = format!("{text}; {note}");
    }
    text
}

#[cfg(test)]
mod tests;
