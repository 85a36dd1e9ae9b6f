//! Replies as text, one line a fact, so that a scenario states the whole reply.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_resolver::proto::rr::{RData, Record, RecordType};

/// The reply in lines: rcode and unusual flags; records; client subnet; EDE. OPT, ID and question are invariants, checked elsewhere.
pub fn render(reply: &[u8]) -> String {
    let message = Message::from_vec(reply).expect("a reply hickory can read");
    let mut lines = vec![first_line(&message)];
    let sections = [
        ("answer", &message.answers),
        ("authority", &message.authorities),
        ("additional", &message.additionals),
    ];
    for (section, records) in sections {
        lines.extend(records.iter().map(|record| format!("{section} {}", show(record))));
    }
    if let Some(edns) = &message.edns {
        for (code, option) in edns.options().as_ref() {
            if let EdnsOption::Subnet(subnet) = option {
                let (address, source) = (subnet.addr(), subnet.source_prefix());
                lines.push(format!("subnet {address}/{source} scope {}", subnet.scope_prefix()));
                continue;
            }
            let EdnsOption::Unknown(number, octets) = option else {
                panic!("no other option is sent: {code:?}")
            };
            assert_eq!(
                (*code, *number),
                (EdnsCode::from(15), 15),
                "no option but EDE and client subnets is sent"
            );
            let (info, text) = octets.split_at(2);
            let text = String::from_utf8(text.to_vec()).expect("EDE text is UTF-8");
            lines
                .push(format!("ede {} {text}", u16::from_be_bytes([info[0], info[1]])).trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// The rcode's name, then the flags that are not what every reply has (QR, RA, and RD as asked).
fn first_line(message: &Message) -> String {
    let header = &message.metadata;
    let code = message.edns.as_ref().map_or(0, |edns| u16::from(edns.rcode_high()) << 4);
    let code = code | u16::from(header.response_code.low());
    let mut line = name_of(code);
    let flags = [
        (header.authoritative, "aa"),
        (header.truncation, "tc"),
        (header.authentic_data, "ad"),
        (header.checking_disabled, "cd"),
        (!header.recursion_available, "nora"),
    ];
    for (_, word) in flags.iter().filter(|(set, _)| *set) {
        line.push(' ');
        line.push_str(word);
    }
    line
}

/// An rcode as dig shows it.
fn name_of(code: u16) -> String {
    match ResponseCode::from((code >> 4) as u8, (code & 15) as u8) {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::BADVERS | ResponseCode::BADSIG => "BADVERS",
        other => return other.to_string(),
    }
    .to_owned()
}

/// `name TTL TYPE rdata`, names without the trailing dot of the owner.
fn show(record: &Record) -> String {
    let owner = record.name.to_ascii().to_ascii_lowercase();
    let owner = if owner == "." { "." } else { owner.trim_end_matches('.') };
    // hickory has no type for DNAME: its RDATA is one uncompressed name (RFC 6672 §2.5).
    let target = |octets| sinkscope::name::Name::from_wire(octets).expect("a DNAME holds a name");
    let quoted = |text: &[u8]| format!("\"{}\"", text.escape_ascii());
    let data = match &record.data {
        RData::Unknown { code: RecordType::DNAME, rdata } => format!("{}.", target(&rdata.anything)),
        // RFC 4034 §3.1.1: the type covered comes first.
        RData::Unknown { code: RecordType::RRSIG, rdata } => {
            RecordType::from(u16::from_be_bytes([rdata.anything[0], rdata.anything[1]])).to_string()
        }
        // hickory shows character strings without quotes, so that where one ends and the next begins is lost.
        RData::TXT(txt) => txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::HINFO(hinfo) => format!("{} {}", quoted(&hinfo.cpu), quoted(&hinfo.os)),
        data => data.to_string(),
    };
    format!("{owner} {} {} {data}", record.ttl, record.record_type())
}
