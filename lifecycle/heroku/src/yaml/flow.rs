//! YAML within quotes and brackets.

use super::{MAX_DEPTH, Yaml, scalar};
use crate::LineError;

/// Reads what stands in quotes or brackets.
pub(super) struct Flow<'a> {
    pub(super) file: &'a str,
    /// The line of the first byte.
    pub(super) number: usize,
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl Flow<'_> {
    pub(super) fn line(&self) -> usize {
        self.number + self.text[..self.at].matches('\n').count()
    }

    fn fault(&self, reason: impl Into<String>) -> LineError {
        LineError::new(self.file, self.line(), reason)
    }

    fn next(&mut self) -> Option<char> {
        let found = self.text[self.at..].chars().next()?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            let space_before = self.at == 0 || self.text[..self.at].ends_with(char::is_whitespace);
            if !(trimmed.starts_with('#') && space_before) {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    pub(super) fn node(&mut self) -> Result<Yaml, LineError> {
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("more than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        self.skip_space();
        let node = match self.peek() {
            Some('"' | '\'') => Yaml::Scalar(self.quoted()?),
            Some('[') => self.list()?,
            Some('{') => self.map()?,
            _ => scalar(self.plain()?),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn list(&mut self) -> Result<Yaml, LineError> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            if self.peek() == Some(']') {
                self.at += 1;
                return Ok(Yaml::List(items));
            }
            items.push(self.node()?);
            self.separator(']')?;
        }
    }

    fn map(&mut self) -> Result<Yaml, LineError> {
        let mut entries: Vec<(String, Yaml)> = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            if self.peek() == Some('}') {
                self.at += 1;
                return Ok(Yaml::Map(entries));
            }
            let key = match self.peek() {
                Some('"' | '\'') => self.quoted()?,
                _ => self.plain()?,
            };
            self.skip_space();
            if self.next() != Some(':') {
                return Err(self.fault(format!("expected `:` after `{key}`")));
            }
            if entries.iter().any(|(own, _)| *own == key) {
                return Err(self.fault(format!("key `{key}` is given twice")));
            }
            let value = self.node()?;
            entries.push((key, value));
            self.separator('}')?;
        }
    }

    /// A comma, or the closing bracket that is left for the caller.
    fn separator(&mut self, close: char) -> Result<(), LineError> {
        self.skip_space();
        match self.peek() {
            Some(',') => self.at += 1,
            Some(found) if found == close => {}
            Some(found) => return Err(self.fault(format!("expected `,` or `{close}`, found `{found}`"))),
            None => return Err(self.fault(format!("`{close}` is missing"))),
        }
        Ok(())
    }

    /// A scalar without quotes inside of brackets.
    fn plain(&mut self) -> Result<String, LineError> {
        let rest = &self.text[self.at..];
        let mut end = rest.len();
        for (at, found) in rest.char_indices() {
            let next = rest[at + found.len_utf8()..].chars().next();
            let ends = match found {
                ',' | '[' | ']' | '{' | '}' | '\n' => true,
                ':' => next.is_none_or(|next| next.is_whitespace() || matches!(next, ',' | ']' | '}')),
                '#' => rest[..at].ends_with(' '),
                _ => false,
            };
            if ends {
                end = at;
                break;
            }
        }
        let text = rest[..end].trim_end();
        if text.starts_with(['&', '*', '!', '@', '`', '%', '|', '>', '?']) {
            return Err(self.fault(format!("`{text}`: anchors, aliases and tags are not supported")));
        }
        self.at += end;
        Ok(text.to_owned())
    }

    /// A scalar in quotes. A line break in it is a space, further ones are kept.
    pub(super) fn quoted(&mut self) -> Result<String, LineError> {
        let begun = self.line();
        let unclosed = |flow: &Self| LineError::new(flow.file, begun, "a quote is not closed");
        let quote = self.next().unwrap_or('"');
        let mut text = String::new();
        loop {
            let found = self.next().ok_or_else(|| unclosed(self))?;
            match found {
                '\'' if quote == '\'' && self.peek() == Some('\'') => {
                    self.at += 1;
                    text.push('\'');
                }
                _ if found == quote => return Ok(text),
                '\\' if quote == '"' => {
                    if let Some(escaped) = self.escape()? {
                        text.push(escaped);
                    }
                }
                '\n' => {
                    text.truncate(text.trim_end_matches([' ', '\t']).len());
                    let rest = &self.text[self.at..];
                    let trimmed = rest.trim_start();
                    let more = rest[..rest.len() - trimmed.len()].matches('\n').count();
                    self.at += rest.len() - trimmed.len();
                    text.extend(std::iter::repeat_n(
                        if more == 0 { ' ' } else { '\n' },
                        more.max(1),
                    ));
                }
                _ => text.push(found),
            }
        }
    }

    fn escape(&mut self) -> Result<Option<char>, LineError> {
        let found = self.next().ok_or_else(|| self.fault("a quote is not closed"))?;
        let digits = match found {
            'n' => return Ok(Some('\n')),
            't' => return Ok(Some('\t')),
            'r' => return Ok(Some('\r')),
            '0' => return Ok(Some('\0')),
            'e' => return Ok(Some('\x1b')),
            '"' | '\\' | '/' | ' ' => return Ok(Some(found)),
            // The line goes on as if it were not broken.
            '\n' => {
                let rest = &self.text[self.at..];
                self.at += rest.len() - rest.trim_start().len();
                return Ok(None);
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(self.fault(format!("`\\{found}` is not an escape"))),
        };
        let code = self
            .text
            .get(self.at..self.at + digits)
            .and_then(|code| u32::from_str_radix(code, 16).ok());
        let known = code.and_then(char::from_u32);
        let known =
            known.ok_or_else(|| self.fault(format!("`\\{found}` needs {digits} hexadecimal digits")))?;
        self.at += digits;
        Ok(Some(known))
    }
}
