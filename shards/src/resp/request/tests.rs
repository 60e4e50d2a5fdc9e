use super::*;

/// Feeds `input` in pieces as `sizes` says, collects all requests; ends at the first error.
fn feed(input: &[u8], mut sizes: impl FnMut() -> usize, limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let (mut buffer, mut requests, mut sent) = (Vec::new(), Vec::new(), 0);
    loop {
        match parser.parse(&buffer, limits) {
            Err(error) => return (requests, Some(error)),
            Ok(Parsed::Request { consumed }) => {
                let mut args = Vec::new();
                parser.fill_args(&buffer, &mut args);
                requests.push(args.into_iter().map(<[u8]>::to_vec).collect());
                buffer.drain(..consumed);
            }
            Ok(Parsed::Incomplete) if sent == input.len() => return (requests, None),
            Ok(Parsed::Incomplete) => {
                let end = (sent + sizes().max(1)).min(input.len());
                buffer.extend_from_slice(&input[sent..end]);
                sent = end;
            }
        }
    }
}

fn whole(input: &[u8]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    feed(input, || usize::MAX / 2, &Limits::default())
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[test]
fn requests_are_the_same_however_the_bytes_arrive() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..300 {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(1..8) {
            if random.u8(..4) == 0 {
                input.extend_from_slice(b"PING 'a b' \"\\x41\\n\"\r\n");
                expected.push(vec![b"PING".to_vec(), b"a b".to_vec(), b"A\n".to_vec()]);
                continue;
            }
            let args: Vec<Vec<u8>> =
                (0..random.usize(1..5)).map(|_| (0..random.usize(..40)).map(|_| random.u8(..)).collect()).collect();
            input.extend_from_slice(&encode(&args));
            expected.push(args);
        }
        let limits = Limits::default();
        assert_eq!(whole(&input), (expected.clone(), None), "round {round}, at once");
        assert_eq!(feed(&input, || 1, &limits), (expected.clone(), None), "round {round}, byte by byte");
        assert_eq!(feed(&input, || random.usize(1..30), &limits), (expected, None), "round {round}, random pieces");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut random = fastrand::Rng::with_seed(11);
    let alphabet = b"*$-0123456789\r\n\"'\\x ab\0\xff";
    for _ in 0..20_000 {
        let input: Vec<u8> = (0..random.usize(..60)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
        let at_once = whole(&input);
        let in_pieces = feed(&input, || random.usize(1..5), &Limits::default());
        assert_eq!(at_once, in_pieces, "{input:?}");
        let _ = decode_command(&input);
    }
}

#[test]
fn a_large_argument_is_not_scanned_again_for_each_chunk() {
    let len = 64 * 1024 * 1024;
    let mut buffer = format!("*2\r\n$3\r\nGET\r\n${len}\r\n").into_bytes();
    let header = buffer.len();
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&buffer, &Limits::default()), Ok(Parsed::Incomplete));
    assert_eq!(parser.missing(), header + len + 2);
    // A million calls over the growing request end at once only if each takes constant time.
    buffer.resize(header + len, b'x');
    for end in header..header + 1_000_000 {
        assert_eq!(parser.parse(&buffer[..end], &Limits::default()), Ok(Parsed::Incomplete));
    }
    buffer.extend_from_slice(b"\r\n");
    assert_eq!(parser.parse(&buffer, &Limits::default()), Ok(Parsed::Request { consumed: header + len + 2 }));
    assert_eq!(parser.arg(&buffer, 1).len(), len);
}

#[test]
fn protocol_errors_have_the_texts_of_redis() {
    let long = vec![b'1'; LINE_MAX + 1];
    let mut long_multibulk = b"*".to_vec();
    long_multibulk.extend_from_slice(&long);
    let mut long_bulk = b"*1\r\n$".to_vec();
    long_bulk.extend_from_slice(&long);
    for (input, text) in [
        (&b"*1\r\n$-1\r\n"[..], "Protocol error: invalid bulk length"),
        (b"*1\r\n$abc\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
        (b"*1\r\nx3\r\n", "Protocol error: expected '$', got 'x'"),
        (b"*1\r\n:3\r\n", "Protocol error: expected '$', got ':'"),
        (b"*1\r\n\r\n", "Protocol error: expected '$', got ' '"),
        (b"*x\r\n", "Protocol error: invalid multibulk length"),
        (b"*2147483648\r\n", "Protocol error: invalid multibulk length"),
        (b"SET \"a\r\n", "Protocol error: unbalanced quotes in request"),
        (b"SET 'a'b\r\n", "Protocol error: unbalanced quotes in request"),
        (&long, "Protocol error: too big inline request"),
        (&long_multibulk, "Protocol error: too big mbulk count string"),
        (&long_bulk, "Protocol error: too big bulk count string"),
    ] {
        let (_, error) = whole(input);
        assert_eq!(error.expect("an error").text(), text);
    }
}

#[test]
fn unauthenticated_connections_have_small_limits() {
    let limits = Limits { unauthenticated: true, ..Limits::default() };
    let error = |input: &[u8]| feed(input, || 100, &limits).1.map(|error| error.text());
    assert_eq!(error(b"*10\r\n$16384\r\n"), None);
    assert_eq!(error(b"*11\r\n"), Some("Protocol error: unauthenticated multibulk length".into()));
    assert_eq!(error(b"*1\r\n$16385\r\n"), Some("Protocol error: unauthenticated bulk length".into()));
}

#[test]
fn empty_requests_are_consumed_without_arguments() {
    for input in [&b"\r\n"[..], b"\n", b"*0\r\n", b"*-1\r\n", b"   \r\n"] {
        assert_eq!(whole(input), (vec![vec![]], None), "{input:?}");
    }
}

#[test]
fn lines_are_split_as_redis_splits_them() {
    let words = |line: &str| split_line(line.as_bytes());
    let expected = |list: &[&str]| Some(list.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(words(" a  b\t"), expected(&["a", "b"]));
    assert_eq!(words(r#""a b" 'c "d' "" ''"#), expected(&["a b", "c \"d", "", ""]));
    assert_eq!(words(r#""\x41\n\"\q" '\'\n'"#), expected(&["A\n\"q", "'\\n"]));
    assert_eq!(words(r#"a"b" c"#), expected(&["ab", "c"]), "a quote may open inside a word");
    for unbalanced in ["\"a", "'a", "\"a\"b", "'a'b", "\"a\\"] {
        assert_eq!(words(unbalanced), None, "{unbalanced}");
    }
}

#[test]
fn the_decoder_takes_exactly_one_whole_command() {
    let bytes = b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n*1\r\n";
    assert_eq!(decode_command(bytes), Some((vec![&b"DEL"[..], b"k"], 20)));
    for cut in 0..20 {
        assert_eq!(decode_command(&bytes[..cut]), None, "cut at {cut}");
    }
    assert_eq!(decode_command(b"*1\r\n$1\r\nkxx"), None, "the end of an argument is checked");
    assert_eq!(decode_command(b"*1\r\n$18446744073709551615\r\n"), None);
}
