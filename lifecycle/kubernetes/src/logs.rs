//! The lines of a step, once each, whatever happens to the connection (JC-20).

use jiff::Timestamp;

/// How far the lines of one container have been read.
///
/// The server puts a time before every line, and is asked for lines *since* a time, which it rounds down to seconds. So
/// after a cut it says some lines again: those before the last time that was seen, and as many of that very time as
/// were seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogCursor {
    last: Option<Timestamp>,
    /// Lines of exactly the last time that were seen.
    seen: usize,
    /// Of these, how many have come again since the connection was made anew.
    again: usize,
}

impl LogCursor {
    /// The connection is made anew; from when on the server is to be asked.
    pub(crate) fn reconnect(&mut self) -> Option<Timestamp> {
        self.again = 0;
        self.last
    }

    /// A whole line as the server sends it; gives its text if it is new.
    pub(crate) fn accept<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        let (time, text) = line.split_once(' ').unwrap_or((line, ""));
        // Something else than a container's line: an error of the kubelet in between.
        let Ok(time) = time.parse::<Timestamp>() else {
            return Some(line);
        };
        match self.last {
            Some(last) if time < last => return None,
            Some(last) if time == last => {
                if self.again < self.seen {
                    self.again += 1;
                    return None;
                }
                self.seen += 1;
            }
            _ => {
                self.last = Some(time);
                self.seen = 1;
            }
        }
        self.again = self.seen;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `lines` in pieces: each piece is one connection that begins at the second of the last line seen.
    fn read(lines: &[&str], cuts: &[usize]) -> Vec<String> {
        let mut cursor = LogCursor::default();
        let mut seen = Vec::new();
        for end in cuts.iter().copied().chain([lines.len()]) {
            let since = cursor.reconnect().map(Timestamp::as_second);
            let asked = lines.iter().take(end).filter(|line| {
                let time: Timestamp = line.split(' ').next().unwrap().parse().unwrap();
                since.is_none_or(|since| time.as_second() >= since)
            });
            seen.extend(asked.filter_map(|line| cursor.accept(line)).map(str::to_owned));
        }
        seen
    }

    #[test]
    fn no_line_is_lost_or_doubled_wherever_the_stream_is_cut_jc_20() {
        let lines = [
            "2026-01-01T00:00:00.1Z a",
            "2026-01-01T00:00:00.1Z a",
            "2026-01-01T00:00:00.1Z b",
            "2026-01-01T00:00:00.2Z ",
            "2026-01-01T00:00:01.000000001Z c d",
            "2026-01-01T00:00:01.000000001Z c d",
            "2026-01-01T00:00:03Z e",
        ];
        let expected = ["a", "a", "b", "", "c d", "c d", "e"];
        for first in 0..=lines.len() {
            for second in first..=lines.len() {
                assert_eq!(
                    read(&lines, &[first, second]),
                    expected,
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_time_is_passed_on() {
        let mut cursor = LogCursor::default();
        assert_eq!(
            cursor.accept("failed to watch file: x"),
            Some("failed to watch file: x")
        );
    }
}
