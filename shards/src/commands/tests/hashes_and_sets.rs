//! Effects of commands on hashes and sets, and what the time does to fields that expire.

use super::Shard;

impl Shard {
    fn reply(&mut self, line: &str) -> String {
        self.run(line).0
    }

    fn effects(&mut self, line: &str) -> Vec<String> {
        self.run(line).1
    }
}

#[test]
fn effects_are_results_not_requests() {
    let mut shard = Shard::new();
    assert_eq!(shard.effects("HSET h a 1 b 2"), ["0: HSET h a 1 b 2"]);
    assert_eq!(shard.effects("HINCRBY h a 5"), ["0: HSET h a 6"]);
    assert_eq!(shard.effects("HINCRBYFLOAT h b 0.5"), ["0: HSET h b 2.5"]);
    assert_eq!(shard.effects("HSETNX h a 9"), [""; 0]);
    assert_eq!(shard.effects("HDEL h a a x"), ["0: HDEL h a"]);
    assert_eq!(shard.effects("SADD s a b a"), ["0: SADD s a b"]);
    assert_eq!(shard.effects("SADD s a b c"), ["0: SADD s c"]);
    assert_eq!(shard.effects("SREM s x b"), ["0: SREM s b"]);
    assert_eq!(shard.effects("SMOVE s t a"), ["0: SREM s a", "0: SADD t a"]);
    shard.run("SADD s d");
    assert!(["0: SREM s c", "0: SREM s d"].contains(&&*shard.effects("SPOP s")[0]));
    assert_eq!(shard.effects("SPOP s").len(), 1);
    assert_eq!(shard.effects("SPOP t 5"), ["0: DEL t"]);
}

#[test]
fn an_effect_has_a_bounded_number_of_elements() {
    let mut shard = Shard::new();
    let members: String = (0..1000).map(|i| format!(" m{i}")).collect();
    let lens = |effects: Vec<String>| effects.iter().map(|effect| effect.split(' ').count() - 3).collect::<Vec<_>>();
    assert_eq!(lens(shard.effects(&format!("SADD s{members}"))), [256, 256, 256, 232]);
    assert_eq!(lens(shard.effects("SPOP s 600")), [256, 256, 88]);
    assert_eq!(shard.reply("SCARD s"), ":400");
    assert_eq!(lens(shard.effects(&format!("HSET h{members}"))), [512, 488]);
    assert_eq!(shard.effects("SPOP s 400"), ["0: DEL s"]);
}

#[test]
fn a_stored_result_is_stated_as_members_when_the_sources_are_lent() {
    let mut shard = Shard::new();
    shard.run("SADD a 1 2 3");
    shard.run("SADD b 2 3 4");
    assert_eq!(shard.effects("SINTERSTORE c a b"), ["0: SINTERSTORE c a b"]);
    assert_eq!(shard.effects("SINTERSTORE c a x"), ["0: DEL c"]);
    shard.gathered = true;
    assert_eq!(shard.effects("SUNIONSTORE c a b"), ["0: SADD c 1 2 3 4"]);
    assert_eq!(shard.effects("SDIFFSTORE c a b"), ["0: DEL c", "0: SADD c 1"]);
}

#[test]
fn packed_elements_come_in_the_order_of_redis() {
    let mut shard = Shard::new();
    shard.run("HSET h c 1 a 2 b 3 c 4");
    assert_eq!(shard.reply("HKEYS h"), "*3 $1 c $1 a $1 b");
    shard.run("SADD ints 30 -1 7");
    assert_eq!(shard.reply("SMEMBERS ints"), "*3 $2 -1 $1 7 $2 30");
    shard.run("SADD packed c a b");
    assert_eq!(shard.reply("SMEMBERS packed"), "*3 $1 c $1 a $1 b");
}

#[test]
fn expired_fields_are_removed_by_the_command_that_meets_their_hash() {
    let mut shard = Shard::new();
    shard.run("HSET h a 1 b 2 c 3");
    assert_eq!(shard.effects("HPEXPIRE h 10 FIELDS 2 a b"), ["0: HPEXPIREAT h 1000010 FIELDS 2 a b"]);
    assert_eq!(shard.effects("HINCRBY h a 1"), ["0: HSET h a 2", "0: HPEXPIREAT h 1000010 FIELDS 1 a"]);
    shard.now_ms += 9;
    assert_eq!(shard.reply("HPTTL h FIELDS 3 a b c"), "*3 :1 :1 :-1");
    shard.now_ms += 1;
    assert_eq!(shard.run("HGET h a"), ("$-1".to_string(), vec!["0: HDEL h b a".to_string()]));
    assert_eq!(shard.run("HGETALL h"), ("*2 $1 c $1 3".to_string(), vec![]));
    assert_eq!(shard.effects("HPEXPIRE h 5 FIELDS 1 c"), ["0: HPEXPIREAT h 1000015 FIELDS 1 c"]);
    shard.now_ms += 5;
    assert_eq!(shard.run("HLEN h"), (":0".to_string(), vec!["0: HDEL h c".to_string()]));
    assert_eq!(shard.reply("EXISTS h"), ":0");
    shard.run("HSET h a 1");
    assert_eq!(shard.run("HPEXPIREAT h 1 FIELDS 1 a"), ("*1 :2".to_string(), vec!["0: HDEL h a".to_string()]));
    assert_eq!(shard.reply("EXISTS h"), ":0");
}

#[test]
fn replay_expires_no_field() {
    let mut shard = Shard::new();
    shard.run("HSET h a 1 b 2");
    shard.replaying = true;
    assert_eq!(shard.reply("HPEXPIREAT h 5 FIELDS 1 a"), "*1 :1");
    assert_eq!(shard.reply("HLEN h"), ":2");
    shard.replaying = false;
    assert_eq!(shard.reply("HLEN h"), ":1");
}

#[test]
fn expired_fields_are_hidden_where_nothing_may_be_logged() {
    let mut shard = Shard::new();
    shard.run("HSET h a 1 b 2");
    shard.run("HPEXPIRE h 10 FIELDS 1 a");
    shard.now_ms += 10;
    shard.may_expire = false;
    assert_eq!(shard.run("HGETALL h"), ("*2 $1 b $1 2".to_string(), vec![]));
    shard.may_expire = true;
    shard.run("HPEXPIRE h 10 FIELDS 1 b");
    shard.now_ms += 10;
    shard.may_expire = false;
    assert_eq!(shard.run("HLEN h"), (":0".to_string(), vec![]));
}

#[test]
fn fields_are_read_and_set_with_what_becomes_of_them() {
    let mut shard = Shard::new();
    assert_eq!(shard.effects("HSETEX h PX 10 FIELDS 2 a 1 b 2"), ["0: HSET h a 1 b 2", "0: HPEXPIREAT h 1000010 FIELDS 2 a b"]);
    let kept = ["0: HSET h a 3", "0: HPEXPIREAT h 1000010 FIELDS 1 a"];
    assert_eq!(shard.effects("HSETEX h KEEPTTL FIELDS 1 a 3"), kept);
    assert_eq!(shard.effects("HSETEX h FNX FIELDS 1 a 4"), [""; 0]);
    assert_eq!(shard.run("HGETEX h PERSIST FIELDS 1 a"), ("*1 $1 3".to_string(), vec!["0: HPERSIST h FIELDS 1 a".to_string()]));
    assert_eq!(shard.run("HGETDEL h FIELDS 2 a a"), ("*2 $1 3 $-1".to_string(), vec!["0: HDEL h a".to_string()]));
    assert_eq!(shard.effects("HSETEX h EXAT 1 FIELDS 1 b 5"), ["0: HDEL h b"]);
    assert_eq!(shard.reply("EXISTS h"), ":0");
    assert_eq!(shard.run("HSETEX h EXAT 1 FIELDS 1 b 5"), (":1".to_string(), vec![]));
}
