//! Requests: the same commands, and the same error, however the bytes are cut.
//!
//! ```text
//! input   flags:u8  seed:u8  the bytes that a client sends
//! flags   bit 0: not authenticated   bit 1: a small proto-max-bulk-len
//! ```

use shards::rdb::aof::encode_command;
use shards::resp::{
    DOUBLE_TEXT_MAX, Limits, Parsed, ProtocolError, RequestParser, decode_command, double_text, parse_double, split_line,
};

/// A longer line is an error when its end has not arrived yet, and none when it has: as in Redis.
const INPUT_BYTES_MAX: usize = 64 * 1024;

type Requests = Vec<Vec<Vec<u8>>>;

pub fn check(data: &[u8]) {
    let [flags, seed, sent @ ..] = data else { return };
    if sent.len() > INPUT_BYTES_MAX {
        return;
    }
    let bulk_len_max = if flags & 2 == 0 { Limits::default().bulk_len_max } else { 64 };
    let limits = Limits { bulk_len_max, unauthenticated: flags & 1 != 0, ..Limits::default() };
    let mut random = fastrand::Rng::with_seed(*seed as u64);
    let at_once = feed(sent, || usize::MAX, &limits);
    assert_eq!(feed(sent, || 1, &limits), at_once, "byte by byte");
    assert_eq!(feed(sent, || random.usize(1..20), &limits), at_once, "in pieces");
    let (requests, _) = at_once;
    for request in &requests {
        decodes_again(request);
        request.iter().for_each(|arg| number_reads_back(arg));
    }
    _ = decode_command(sent);
    _ = split_line(sent);
}

/// Sends the bytes in pieces of the given sizes; all requests up to the first error.
fn feed(sent: &[u8], mut size: impl FnMut() -> usize, limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let (mut buffer, mut requests, mut rest, mut missing) = (Vec::new(), Requests::new(), sent, 0);
    loop {
        match parser.parse(&buffer, limits) {
            Err(error) => {
                assert!(!error.text().contains(['\r', '\n']), "the text is one line");
                return (requests, Some(error));
            }
            Ok(Parsed::Request { consumed }) => {
                assert!(consumed >= missing, "it said that more was missing");
                missing = 0;
                let mut args = Vec::new();
                parser.fill_args(&buffer, &mut args);
                assert_eq!(args.len(), parser.args_len());
                requests.push(args.into_iter().map(<[u8]>::to_vec).collect());
                buffer.drain(..consumed);
            }
            Ok(Parsed::Incomplete) if rest.is_empty() => return (requests, None),
            Ok(Parsed::Incomplete) => {
                missing = parser.missing();
                let (piece, tail) = rest.split_at(size().min(rest.len()));
                buffer.extend_from_slice(piece);
                rest = tail;
            }
        }
    }
}

fn decodes_again(request: &[Vec<u8>]) {
    let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
    let mut encoded = Vec::new();
    encode_command(&mut encoded, &args);
    assert_eq!(decode_command(&encoded), Some((args.clone(), encoded.len())), "as the log reads it");
    // An empty request has no form that says so: `*0` is answered by nothing.
    if !args.is_empty() {
        assert_eq!(feed(&encoded, || usize::MAX, &Limits::default()), (vec![request.to_vec()], None), "as a client sends it");
    }
}

fn number_reads_back(text: &[u8]) {
    let Some(value) = parse_double(text) else { return };
    assert!(!value.is_nan(), "not a number is no number");
    let mut buffer = [0; DOUBLE_TEXT_MAX];
    let shown = double_text(value, &mut buffer);
    assert_eq!(parse_double(shown).map(f64::to_bits), Some(value.to_bits()), "{} is shown as {}", value, shown.escape_ascii());
}
