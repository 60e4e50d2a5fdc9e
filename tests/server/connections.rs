//! Bytes in, bytes out.

use crate::harness::{Client, Dir, Random, Reply, Server, bulk, encode, ok};
use std::io::{Read, Write};
use std::net::Shutdown;

fn both(test: impl Fn(&Server)) {
    for shards in ["1", "2"] {
        let dir = Dir::new();
        test(&Server::start(&dir, &["--shards", shards, "--maxclients", "1200"]));
    }
}

#[test]
fn a_pipeline_is_answered_in_order() {
    both(|server| {
        let mut client = server.client();
        let mut bytes = Vec::new();
        for i in 0..2000 {
            bytes.extend(encode(&[b"SET", format!("key:{i}").as_bytes(), i.to_string().as_bytes()]));
            bytes.extend(encode(&[b"GET", format!("key:{}", i / 2).as_bytes()]));
        }
        let mut writer = client.stream.try_clone().expect("a socket");
        let sender = std::thread::spawn(move || writer.write_all(&bytes).expect("the server reads"));
        for i in 0..2000 {
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), bulk(&(i / 2).to_string()));
        }
        sender.join().expect("no panic");
    });
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    both(|server| {
        let mut client = server.client();
        for byte in encode(&[b"SET", b"a", b"1"]).iter().chain(b"GET a\r\n") {
            client.send(&[*byte]);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!((client.reply(), client.reply()), (ok(), bulk("1")));
    });
}

#[test]
fn a_value_of_64_megabytes_goes_in_and_out() {
    both(|server| {
        let value: Vec<u8> = (0..64 << 20).map(|i: u32| (i / 7) as u8).collect();
        let mut client = server.client();
        for key in ["a", "b"] {
            assert_eq!(client.call_args(&[b"SET", key.as_bytes(), &value]), ok());
            assert!(client.call_args(&[b"GET", key.as_bytes()]) == Reply::Bulk(value.clone()), "{key} came back different");
        }
    });
}

#[test]
fn a_client_that_does_not_read_is_not_run_ahead_of() {
    both(|server| {
        let mut client = server.client();
        assert_eq!(client.call_args(&[b"SET", b"a", &vec![b'x'; 100_000]]), ok());
        let request = encode(&[b"GET", b"a"]).repeat(2000);
        client.send(&request);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let pending: u64 = server.client().info("client_recent_max_output_buffer").parse().expect("a number");
        // 256 replies may be on their way from another shard.
        assert!(pending < 32 << 20, "{pending} bytes are pending");
        for _ in 0..2000 {
            assert!(matches!(client.reply(), Reply::Bulk(value) if value.len() == 100_000));
        }
    });
}

#[test]
fn a_thousand_connections_are_spread_over_the_shards() {
    both(|server| {
        let mut clients: Vec<Client> = (0..1000).map(|_| server.client()).collect();
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(&encode(&[b"SET", format!("key:{i}").as_bytes(), b"x"]));
        }
        assert!(clients.iter_mut().all(|client| client.reply() == ok()));
        let mut client = server.client();
        assert_eq!(client.call("dbsize"), Reply::Integer(1000));
        let shards: usize = client.info("shards").parse().expect("a number");
        for shard in 0..shards {
            let count: usize = client.info(&format!("shard{shard}_clients")).parse().expect("a number");
            assert!(count >= 1000 / shards, "shard {shard} has {count}");
        }
    });
}

#[test]
fn too_many_connections_are_told_so() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--maxclients", "3"]);
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    assert!(clients.iter_mut().all(|client| client.call("ping") == Reply::Simple("PONG".into())));
    let mut refused = server.client();
    assert_eq!(refused.reply(), Reply::Error("ERR max number of clients reached".into()));
    assert_eq!(refused.try_reply(), None);
}

#[test]
fn protocol_errors_are_answered_then_the_connection_is_closed() {
    both(|server| {
        for (bytes, text) in [
            (&b"*1\r\n:1\r\n"[..], "ERR Protocol error: expected '$', got ':'"),
            (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
            (b"SET \"a\r\n", "ERR Protocol error: unbalanced quotes in request"),
        ] {
            let mut client = server.client();
            client.send(&encode(&[b"PING"]));
            client.send(bytes);
            assert_eq!(client.reply(), Reply::Simple("PONG".into()));
            assert_eq!(client.reply(), Reply::Error(text.into()));
            assert_eq!(client.try_reply(), None);
        }
    });
}

/// Otherwise a web page could let a browser write into a server of the inner network.
#[test]
fn commands_inside_a_request_of_http_are_not_run() {
    both(|server| {
        for first in ["POST / HTTP/1.1", "Host: localhost:6379"] {
            let mut client = server.client();
            client.send(format!("{first}\r\nSET a 1\r\n\r\n").as_bytes());
            assert_eq!(client.try_reply(), None);
        }
        assert_eq!(server.client().call("get a"), Reply::Null);
        assert!(server.log().contains("Possible SECURITY ATTACK detected"), "{}", server.log());
    });
}

#[test]
fn a_peer_that_sends_no_more_gets_all_its_replies() {
    both(|server| {
        let mut client = server.client();
        for i in 0..500 {
            client.send(&encode(&[b"SET", format!("key:{i}").as_bytes(), b"x"]));
        }
        client.stream.shutdown(Shutdown::Write).expect("a socket");
        for _ in 0..500 {
            assert_eq!(client.reply(), ok());
        }
        assert_eq!(client.try_reply(), None);
    });
}

#[test]
fn quit_is_answered_and_nothing_behind_it_runs() {
    both(|server| {
        let mut client = server.client();
        client.send(&[encode(&[b"SET", b"a", b"1"]), encode(&[b"QUIT"]), encode(&[b"SET", b"a", b"2"])].concat());
        assert_eq!((client.reply(), client.reply(), client.try_reply()), (ok(), ok(), None));
        assert_eq!(server.client().call("get a"), bulk("1"));
    });
}

#[test]
fn replies_are_switched_off_and_skipped() {
    both(|server| {
        let mut client = server.client();
        client.send(b"CLIENT REPLY OFF\r\nSET a 1\r\nSET b 1\r\nMSET a 2 b 2\r\nDBSIZE\r\nINFO\r\nCLIENT REPLY ON\r\n");
        client.send(b"CLIENT REPLY SKIP\r\nSET c 1\r\nGET c\r\nCLIENT REPLY SKIP\r\nMGET a b c\r\nMGET a b c\r\n");
        assert_eq!((client.reply(), client.reply()), (ok(), bulk("1")));
        assert_eq!(client.reply(), Reply::Array(vec![bulk("2"), bulk("2"), bulk("1")]));
    });
}

#[test]
fn the_error_of_an_unknown_command_is_skipped_like_any_reply() {
    both(|server| {
        let mut client = server.client();
        client.send(b"CLIENT REPLY SKIP\r\nFOO\r\nECHO 1\r\nCLIENT REPLY SKIP\r\nGET\r\nECHO 2\r\n");
        client.send(b"CLIENT REPLY OFF\r\nFOO\r\nCLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY BAD\r\nECHO 3\r\n");
        assert_eq!((client.reply(), client.reply(), client.reply(), client.reply()), (bulk("1"), bulk("2"), ok(), bulk("3")));
    });
}

#[test]
fn a_client_that_kills_itself_is_answered_first() {
    both(|server| {
        let mut client = server.client();
        let Reply::Integer(id) = client.call("client id") else { panic!("a number") };
        client.send(format!("CLIENT KILL ID {id} SKIPME NO\r\nSET never 1\r\n").as_bytes());
        assert_eq!((client.try_reply(), client.try_reply()), (Some(Reply::Integer(1)), None));
        assert_eq!(server.client().call("get never"), Reply::Null);
    });
}

#[test]
fn a_unix_socket_serves_too() {
    let dir = Dir::new();
    let path = dir.file("socket");
    let server =
        Server::start(&dir, &["--shards", "2", "--unixsocket", path.to_str().expect("UTF-8"), "--unixsocketperm", "700"]);
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    stream.write_all(b"PING\r\n").expect("it reads");
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+PONG\r\n");
    assert!(server.log().contains("Ready to accept connections unix"));
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--shards", "2", "--timeout", "1"]);
    let mut client = server.client();
    assert_eq!(client.call("ping"), Reply::Simple("PONG".into()));
    assert_eq!(client.try_reply(), None);
}

#[test]
fn a_string_beyond_the_limit_is_refused_before_it_arrives() {
    both(|server| {
        let mut client = server.client();
        client.send(format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", (512 << 20) + 1).as_bytes());
        assert_eq!(client.reply(), Reply::Error("ERR Protocol error: invalid bulk length".into()));
        assert_eq!(client.try_reply(), None);
    });
}

#[test]
fn a_request_beyond_the_query_buffer_limit_ends_the_connection() {
    both(|server| {
        assert_eq!(server.client().call("config set client-query-buffer-limit 2097152"), ok());
        let mut client = server.client();
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000000\r\n");
        let piece = vec![b'x'; 100_000];
        let sent = (0..1000).take_while(|_| client.stream.write_all(&piece).is_ok()).count();
        assert!((20..200).contains(&sent), "{sent} pieces were taken");
        assert_eq!(server.client().call("get a"), Reply::Null);
    });
}

/// One that never reads, one that is reset, one that goes away within a request.
#[test]
fn peers_that_misbehave_are_forgotten_and_disturb_nobody() {
    both(|server| {
        let mut client = server.client();
        assert_eq!(client.call_args(&[b"SET", b"a", &vec![b'x'; 1_000_000]]), ok());
        for round in 0..50 {
            let mut bad = server.client();
            bad.send(&encode(&[b"GET", b"a"]).repeat(100));
            if round % 2 == 0 {
                bad.stream.shutdown(Shutdown::Both).expect("a socket");
            } else {
                bad.send(b"*2\r\n$3\r\nGET\r\n$1");
                bad.stream.shutdown(Shutdown::Write).expect("a socket");
            }
            assert_eq!(client.call("ping"), Reply::Simple("PONG".into()));
        }
        let peak: u64 = client.info("used_memory_peak").parse().expect("a number");
        assert!(peak < 1500 << 20, "{peak} bytes were taken for replies that nobody reads");
        let begun = std::time::Instant::now();
        while client.info("connected_clients") != "1" {
            assert!(begun.elapsed().as_secs() < 20, "{} connections are left", client.info("connected_clients"));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
}

/// What one connection sends in one pipeline gives the replies of the same commands one after another, whatever shards they go to.
#[test]
fn a_pipeline_over_several_shards_has_the_replies_of_its_commands_in_order() {
    for order in ["strict", "relaxed"] {
        let dir = Dir::new();
        let server = Server::start(&dir, &["--shards", "2", "--pipeline-order", order]);
        let mut client = server.client();
        let mut random = Random(7);
        let mut model = std::collections::BTreeMap::<String, String>::new();
        let mut next = 0;
        for _ in 0..60 {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..200 {
                let (a, b) = (format!("k{}", random.below(6)), format!("k{}", random.below(6)));
                next += 1;
                let value = next.to_string();
                let read =
                    |model: &std::collections::BTreeMap<_, String>, key| model.get(key).map_or(Reply::Null, |text| bulk(text));
                let (words, reply) = match random.below(6) {
                    0 | 1 => {
                        model.insert(a.clone(), value.clone());
                        (vec!["SET", &a, &value], ok())
                    }
                    2 => (vec!["GET", &a], read(&model, &a)),
                    3 => {
                        model.insert(a.clone(), value.clone());
                        model.insert(b.clone(), value.clone());
                        (vec!["MSET", &a, &value, &b, &value], ok())
                    }
                    4 => (vec!["MGET", &a, &b], Reply::Array(vec![read(&model, &a), read(&model, &b)])),
                    _ => {
                        let moved = model.remove(&a);
                        let reply = match moved {
                            Some(text) => {
                                model.insert(b.clone(), text);
                                ok()
                            }
                            None => Reply::Error("ERR no such key".into()),
                        };
                        (vec!["RENAME", &a, &b], reply)
                    }
                };
                bytes.extend(encode(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>()));
                expected.push((words.join(" "), reply));
            }
            client.send(&bytes);
            for (command, reply) in expected {
                assert_eq!(client.reply(), reply, "{order}: {command}");
            }
        }
    }
}

#[test]
fn a_vertical_tab_ends_no_word_of_an_inline_command() {
    both(|server| {
        let mut client = server.client();
        client.send(b"\x0bECHO a\x0bb\x0cc\td\r\nECHO a\x0bb\r\n");
        assert_eq!(client.reply(), Reply::Error("ERR wrong number of arguments for 'echo' command".into()));
        assert_eq!(client.reply(), Reply::Bulk(b"a\x0bb".to_vec()));
    });
}
