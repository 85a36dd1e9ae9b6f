//! Server-sent events as the API's client reads them (WHATWG HTML §9.2.6), as far as the API uses them.

/// Octets of a line at most: far beyond what the API tells, so that something else fills no memory.
const MAX_LINE: usize = 64 << 10;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// Reads events out of octets as they come.
#[derive(Debug, Default)]
pub struct Events {
    /// A line whose end is yet to come.
    line: Vec<u8>,
    /// Whether it is too long to be one, and left out.
    skips: bool,
    /// The event whose end is yet to come.
    event: Event,
}

impl Events {
    /// Takes octets, and gives each event that ends in them to `take`.
    pub fn push(&mut self, octets: &[u8], mut take: impl FnMut(Event)) {
        for part in octets.split_inclusive(|octet| *octet == b'\n') {
            self.skips |= self.line.len() + part.len() > MAX_LINE;
            if !self.skips {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.skips) {
                    self.end_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']), &mut take);
                }
            }
        }
    }

    /// Takes a line in.
    fn end_line(&mut self, line: &str, take: &mut impl FnMut(Event)) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                take(event);
            }
        } else if let Some((field, value)) = line.split_once(':') {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => self.event.data.push_str(value),
                // A comment, or what the API does not send.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_they_are_cut() {
        let text = b": listening\n\ndata: {\"a\":1}\n\n:\n\nevent: lost\r\ndata:{\"lost\":7}\r\nid: 1\r\n\r\ndata: cut";
        let event = |name: &str, data: &str| Event { name: name.into(), data: data.into() };
        for size in 1..text.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            text.chunks(size).for_each(|octets| events.push(octets, |event| found.push(event)));
            assert_eq!(found, [event("", "{\"a\":1}"), event("lost", "{\"lost\":7}")], "{size}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end_and_costs_itself_alone() {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for _ in 0..3 {
            events.push(&[b'x'; MAX_LINE], |event| found.push(event));
            assert!(events.line.len() <= MAX_LINE);
        }
        events.push(b"\ndata: y\n\n", |event| found.push(event));
        assert_eq!(found, [Event { name: String::new(), data: "y".into() }]);
    }
}
