//! Points in sorted sets: GEOADD, GEOPOS, GEODIST, GEOHASH and the searches. A point's score is its `geohash`.

use super::arguments::{Failure, NOT_FLOAT, SYNTAX, answer, integer, is, read_typed, typed};
use super::context::Ctx;
use super::geohash::{Point, Shape, hashes_around};
use super::table::{Command, Multi, Route, Run, Spec, SpecBegin, SpecFind, flags};
use super::zsets::{AddOptions, add, store, zset_at};
use crate::keyspace::Entry;
use crate::resp::{Reply, parse_double};
use crate::types::Zset;
use crate::types::element::Element;
use crate::types::zset::{ScoreBound, ScoreRange};

pub static COMMANDS: &[Command] = &[
Command::new("geoadd", -5, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Never), Run::Data(geoadd))
.keys(1, 1, 1).specs(&[Spec::at(1, "RW update")]).acl(&["write", "geo", "slow"]).arguments("key [condition(NX | XX)] [CH=change] data(longitude:double latitude:double member)...")
.doc("geo", "3.2.0", "O(log(N)) for each item added, where N is the number of elements in the sorted set.", "Adds one or more members to a geospatial index. The key is created if it doesn't exist"),
Command::new("geopos", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(geopos))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key [member...]")
.doc("geo", "3.2.0", "O(1) for each member requested.", "Returns the longitude and latitude of members from a geospatial index"),
Command::new("geodist", -4, flags::READONLY, Route::Keys(Multi::Never), Run::Data(geodist))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key member1 member2 [unit(M | KM | FT | MI)]")
.doc("geo", "3.2.0", "O(1)", "Returns the distance between two members of a geospatial index"),
Command::new("geohash", -2, flags::READONLY, Route::Keys(Multi::Never), Run::Data(geohash))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key [member...]")
.doc("geo", "3.2.0", "O(1) for each member requested.", "Returns members from a geospatial index as geohash strings"),
Command::new("geosearch", -7, flags::READONLY, Route::Keys(Multi::Never), Run::Data(geosearch))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key from(FROMMEMBER member | FROMLONLAT fromlonlat(longitude:double latitude:double)) by(circle(BYRADIUS radius:double unit(M | KM | FT | MI)) | box(BYBOX width:double height:double unit(M | KM | FT | MI))) [order(ASC | DESC)] [count-block(COUNT count:integer [ANY])] [WITHCOORD] [WITHDIST] [WITHHASH]")
.doc("geo", "6.2.0", "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Queries a geospatial index for members inside an area of a box or a circle"),
Command::new("geosearchstore", -8, flags::WRITE | flags::DENYOOM, Route::Keys(Multi::Gather), Run::Data(geosearchstore))
.keys(1, 2, 1).specs(&[Spec::at(1, "OW update"), Spec::at(2, "RO access")]).acl(&["write", "geo", "slow"]).arguments("destination:key source:key from(FROMMEMBER member | FROMLONLAT fromlonlat(longitude:double latitude:double)) by(circle(BYRADIUS radius:double unit(M | KM | FT | MI)) | box(BYBOX width:double height:double unit(M | KM | FT | MI))) [order(ASC | DESC)] [count-block(COUNT count:integer [ANY])] [STOREDIST]")
.doc("geo", "6.2.0", "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape", "Queries a geospatial index for members inside an area of a box or a circle, optionally stores the result"),
Command::new("georadius", -6, flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(georadius))
.find_keys(radius_keys).specs(&[Spec::at(1, "RO access"), Spec { flags: "OW update", begin: SpecBegin::Keyword { keyword: "STORE", start_from: 6 }, find: SpecFind::Range { last: 0, step: 1, limit: 0 }, notes: "" }, Spec { flags: "OW update", begin: SpecBegin::Keyword { keyword: "STOREDIST", start_from: 6 }, find: SpecFind::Range { last: 0, step: 1, limit: 0 }, notes: "" }]).acl(&["write", "geo", "slow"]).arguments("key longitude:double latitude:double radius:double unit(M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [count-block(COUNT count:integer [ANY])] [order(ASC | DESC)] [store(STORE storekey:key=key | STOREDIST storedistkey:key=key)]")
.doc("geo", "3.2.0", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Queries a geospatial index for members within a distance from a coordinate, optionally stores the result"),
Command::new("georadius_ro", -6, flags::READONLY, Route::Keys(Multi::Never), Run::Data(georadius_ro))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key longitude:double latitude:double radius:double unit(M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [count-block(COUNT count:integer [ANY])] [order(ASC | DESC)]")
.doc("geo", "3.2.10", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Returns members from a geospatial index that are within a distance from a coordinate"),
Command::new("georadiusbymember", -5, flags::WRITE | flags::DENYOOM | flags::MOVABLEKEYS, Route::Keys(Multi::Gather), Run::Data(georadiusbymember))
.find_keys(radius_by_member_keys).specs(&[Spec::at(1, "RO access"), Spec { flags: "OW update", begin: SpecBegin::Keyword { keyword: "STORE", start_from: 5 }, find: SpecFind::Range { last: 0, step: 1, limit: 0 }, notes: "" }, Spec { flags: "OW update", begin: SpecBegin::Keyword { keyword: "STOREDIST", start_from: 5 }, find: SpecFind::Range { last: 0, step: 1, limit: 0 }, notes: "" }]).acl(&["write", "geo", "slow"]).arguments("key member radius:double unit(M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [count-block(COUNT count:integer [ANY])] [order(ASC | DESC)] [store(STORE storekey:key=key | STOREDIST storedistkey:key=key)]")
.doc("geo", "3.2.0", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Queries a geospatial index for members within a distance from a member, optionally stores the result"),
Command::new("georadiusbymember_ro", -5, flags::READONLY, Route::Keys(Multi::Never), Run::Data(georadiusbymember_ro))
.keys(1, 1, 1).specs(&[Spec::at(1, "RO access")]).acl(&["read", "geo", "slow"]).arguments("key member radius:double unit(M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [count-block(COUNT count:integer [ANY])] [order(ASC | DESC)]")
.doc("geo", "3.2.10", "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.", "Returns members from a geospatial index that are within a distance from a member")];

const NO_MEMBER: Failure = Failure::Borrowed("ERR could not decode requested zset member");

// --- Arguments and replies -----------------------------------------------------------------------------------------------

fn coordinates(longitude: &[u8], latitude: &[u8]) -> Result<Point, Failure> {
    let longitude = parse_double(longitude).ok_or(NOT_FLOAT)?;
    let point = Point { longitude, latitude: parse_double(latitude).ok_or(NOT_FLOAT)? };
    if point.is_valid() {
        return Ok(point);
    }
    Err(format!("ERR invalid longitude,latitude pair {:.6},{:.6}", point.longitude, point.latitude).into())
}

/// Metres of a unit.
fn unit(word: &[u8]) -> Result<f64, Failure> {
    match () {
        () if is(word, "M") => Ok(1.0),
        () if is(word, "KM") => Ok(1000.0),
        () if is(word, "FT") => Ok(0.3048),
        () if is(word, "MI") => Ok(1609.34),
        () => Err("ERR unsupported unit provided. please use M, KM, FT, MI".into()),
    }
}

/// A coordinate with 17 digits behind the point, without trailing zeros.
fn coordinate_text(value: f64) -> String {
    let text = format!("{value:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_string() } else { text.to_string() }
}

fn reply_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    reply.double_digits(coordinate_text(point.longitude).as_bytes());
    reply.double_digits(coordinate_text(point.latitude).as_bytes());
}

/// Four digits behind the point, in both protocols a string.
fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

// --- Members -------------------------------------------------------------------------------------------------------------

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member …]
fn geoadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let (mut options, mut at) = (AddOptions::default(), 2);
        while let Some(word) = args.get(at) {
            let option = match () {
                () if is(word, "NX") => &mut options.nx,
                () if is(word, "XX") => &mut options.xx,
                () if is(word, "CH") => &mut options.ch,
                () => break,
            };
            *option = true;
            at += 1;
        }
        let words = &args[at..];
        if !words.len().is_multiple_of(3) || words.is_empty() || (options.nx && options.xx) {
            return Err(SYNTAX);
        }
        let mut members = Vec::with_capacity(words.len() / 3);
        for triple in words.chunks_exact(3) {
            members.push((coordinates(triple[0], triple[1])?.hash() as f64, triple[2]));
        }
        let count = add(ctx, args[1], options, &members)?.count(options);
        ctx.reply.integer(count as i64);
        Ok(())
    });
}

/// The points of members; None where there is none.
fn points(ctx: &mut Ctx<'_>, key: &[u8], members: &[&[u8]]) -> Result<Vec<Option<Point>>, Failure> {
    let entry = read_typed::<Zset>(ctx, key)?;
    Ok(members.iter().map(|member| entry.and_then(|entry| point_of(ctx, entry, member))).collect())
}

fn point_of(ctx: &Ctx<'_>, entry: Entry, member: &[u8]) -> Option<Point> {
    typed::<Zset>(ctx, entry).score(member).map(Point::of_score)
}

/// GEOPOS key [member …]
fn geopos(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let points = points(ctx, args[1], &args[2..])?;
        ctx.reply.array(points.len());
        for point in points {
            match point {
                Some(point) => reply_point(&mut ctx.reply, point),
                None => ctx.reply.null_array(),
            }
        }
        Ok(())
    });
}

/// GEOHASH key [member …]
fn geohash(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let points = points(ctx, args[1], &args[2..])?;
        ctx.reply.array(points.len());
        for point in points {
            match point {
                Some(point) => ctx.reply.bulk(&point.text()),
                None => ctx.reply.null(),
            }
        }
        Ok(())
    });
}

/// GEODIST key member1 member2 [M | KM | FT | MI]
fn geodist(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let metres = match args[4..] {
            [] => 1.0,
            [word] => unit(word)?,
            _ => return Err(SYNTAX),
        };
        match points(ctx, args[1], &args[2..4])?[..] {
            [Some(a), Some(b)] => reply_distance(&mut ctx.reply, a.distance_m(b) / metres),
            _ => ctx.reply.null(),
        }
        Ok(())
    });
}

// --- Searches ------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As the cells are visited.
    Found,
    Ascending,
    Descending,
}

/// What a search asks for. What is missing is None.
struct Search<'a> {
    centre: Option<Point>,
    /// FROMMEMBER or FROMLONLAT was given. The centre of a member of an absent key stays unknown.
    has_centre: bool,
    shape: Option<Shape>,
    /// Metres of the unit in which distances are answered.
    unit_m: f64,
    order: Order,
    count: Option<usize>,
    any: bool,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// A point that was found.
struct Found {
    member: Vec<u8>,
    score: f64,
    point: Point,
    distance_m: f64,
}

/// Which command searches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS and GEORADIUSBYMEMBER; `stores`: without `_RO`.
    Radius {
        stores: bool,
    },
    Search,
    SearchStore,
}

impl<'a> Search<'a> {
    fn new() -> Search<'a> {
        Search {
            centre: None,
            has_centre: false,
            shape: None,
            unit_m: 1.0,
            order: Order::Found,
            count: None,
            any: false,
            with_distance: false,
            with_hash: false,
            with_coordinates: false,
            store: None,
            store_distance: false,
        }
    }

    fn centre_on(&mut self, point: Point) {
        (self.centre, self.has_centre) = (Some(point), true);
    }

    fn centre_on_member(&mut self, ctx: &Ctx<'_>, entry: Option<Entry>, member: &[u8]) -> Result<(), Failure> {
        self.has_centre = true;
        if let Some(entry) = entry {
            self.centre = Some(point_of(ctx, entry, member).ok_or(NO_MEMBER)?);
        }
        Ok(())
    }

    fn by_radius(&mut self, radius: &[u8], word: &[u8]) -> Result<(), Failure> {
        let radius = parse_double(radius).ok_or("ERR need numeric radius")?;
        if radius < 0.0 {
            return Err("ERR radius cannot be negative".into());
        }
        self.unit_m = unit(word)?;
        self.shape = Some(Shape::Circle { radius_m: radius * self.unit_m });
        Ok(())
    }

    fn by_box(&mut self, width: &[u8], height: &[u8], word: &[u8]) -> Result<(), Failure> {
        let width = parse_double(width).ok_or("ERR need numeric width")?;
        let height = parse_double(height).ok_or("ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err("ERR height or width cannot be negative".into());
        }
        self.unit_m = unit(word)?;
        self.shape = Some(Shape::Box { width_m: width * self.unit_m, height_m: height * self.unit_m });
        Ok(())
    }

    /// Reads the options of all forms.
    fn options(&mut self, ctx: &Ctx<'_>, entry: Option<Entry>, form: Form, words: &[&'a [u8]]) -> Result<(), Failure> {
        let searches = matches!(form, Form::Search | Form::SearchStore);
        let (mut from_member, mut from_point) = (false, false);
        let (mut circle, mut rectangle) = (false, false);
        let mut rest = words;
        while let [word, behind @ ..] = rest {
            let taken = match behind {
                _ if is(word, "WITHDIST") => flag(&mut self.with_distance),
                _ if is(word, "WITHHASH") => flag(&mut self.with_hash),
                _ if is(word, "WITHCOORD") => flag(&mut self.with_coordinates),
                _ if is(word, "ANY") => flag(&mut self.any),
                _ if is(word, "ASC") => self.sorted(Order::Ascending),
                _ if is(word, "DESC") => self.sorted(Order::Descending),
                [count, ..] if is(word, "COUNT") => self.at_most(count)?,
                [key, ..] if form == (Form::Radius { stores: true }) && is(word, "STORE") => self.stored(key, false),
                [key, ..] if form == (Form::Radius { stores: true }) && is(word, "STOREDIST") => self.stored(key, true),
                [member, ..] if searches && !from_point && is(word, "FROMMEMBER") => {
                    from_member = true;
                    self.centre_on_member(ctx, entry, member)?;
                    1
                }
                [longitude, latitude, ..] if searches && !from_member && is(word, "FROMLONLAT") => {
                    from_point = true;
                    self.centre_on(coordinates(longitude, latitude)?);
                    2
                }
                [radius, unit, ..] if searches && !rectangle && is(word, "BYRADIUS") => {
                    circle = true;
                    self.by_radius(radius, unit)?;
                    2
                }
                [width, height, unit, ..] if searches && !circle && is(word, "BYBOX") => {
                    rectangle = true;
                    self.by_box(width, height, unit)?;
                    3
                }
                _ if form == Form::SearchStore && is(word, "STOREDIST") => flag(&mut self.store_distance),
                _ => return Err(SYNTAX),
            };
            rest = &behind[taken..];
        }
        Ok(())
    }

    fn sorted(&mut self, order: Order) -> usize {
        self.order = order;
        0
    }

    fn at_most(&mut self, count: &[u8]) -> Result<usize, Failure> {
        match integer(count)? {
            count @ 1.. => self.count = Some(count as usize),
            _ => return Err("ERR COUNT must be > 0".into()),
        }
        Ok(1)
    }

    fn stored(&mut self, key: &'a [u8], distance: bool) -> usize {
        (self.store, self.store_distance) = (Some(key), distance);
        1
    }

    fn check(&self, form: Form, name: &[u8]) -> Result<(), Failure> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options").into());
        }
        let name = String::from_utf8_lossy(name);
        let searches = matches!(form, Form::Search | Form::SearchStore);
        if searches && !self.has_centre {
            return Err(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}").into());
        }
        if searches && self.shape.is_none() {
            return Err(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}").into());
        }
        if self.any && self.count.is_none() {
            return Err("ERR the ANY argument requires COUNT argument".into());
        }
        Ok(())
    }

    /// The points of the set in the area, sorted and cut as asked for.
    fn run(&self, zset: &Zset) -> Vec<Found> {
        let mut found = self.find(zset);
        // Without an order COUNT means the closest ones, unless any will do.
        let order = match self.order {
            Order::Found if self.count.is_some() && !self.any => Order::Ascending,
            order => order,
        };
        let by_distance = |a: &Found, b: &Found| a.distance_m.total_cmp(&b.distance_m);
        match order {
            Order::Found => {}
            Order::Ascending => found.sort_by(by_distance),
            Order::Descending => found.sort_by(|a, b| by_distance(b, a)),
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }

    fn find(&self, zset: &Zset) -> Vec<Found> {
        let (centre, shape) = (self.centre.expect("checked"), self.shape.expect("checked"));
        let enough = if self.any { self.count.unwrap_or(usize::MAX) } else { usize::MAX };
        let mut found = Vec::new();
        for hashes in hashes_around(centre, shape) {
            let bound = |hash: u64, exclusive| ScoreBound { score: hash as f64, exclusive };
            let ranks = zset.score_ranks(&ScoreRange { min: bound(hashes.start, false), max: bound(hashes.end, true) });
            for (member, score) in zset.iter_from(ranks.start).take(ranks.len()) {
                if found.len() >= enough {
                    return found;
                }
                let point = Point::of_score(score);
                if let Some(distance_m) = shape.distance_within(centre, point) {
                    found.push(Found { member: member.bytes().into_owned(), score, point, distance_m });
                }
            }
        }
        found
    }
}

fn flag(flag: &mut bool) -> usize {
    *flag = true;
    0
}

/// GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit [ASC | DESC]
/// [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
fn geosearch(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[1])?;
        search(ctx, entry, Search::new(), Form::Search, args, 2)
    });
}

/// GEOSEARCHSTORE destination source, then as GEOSEARCH, with STOREDIST instead of WITHCOORD, WITHDIST and WITHHASH
fn geosearchstore(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[2])?;
        search(ctx, entry, Search { store: Some(args[1]), ..Search::new() }, Form::SearchStore, args, 3)
    });
}

/// GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
/// [STORE key | STOREDIST key]
fn georadius(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    radius_command(ctx, args, true);
}

/// GEORADIUS_RO: as GEORADIUS, without STORE
fn georadius_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    radius_command(ctx, args, false);
}

fn radius_command(ctx: &mut Ctx<'_>, args: &[&[u8]], stores: bool) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[1])?;
        let mut query = Search::new();
        query.centre_on(coordinates(args[2], args[3])?);
        query.by_radius(args[4], args[5])?;
        search(ctx, entry, query, Form::Radius { stores }, args, 6)
    });
}

/// GEORADIUSBYMEMBER key member radius unit, then as GEORADIUS
fn georadiusbymember(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    radius_by_member_command(ctx, args, true);
}

/// GEORADIUSBYMEMBER_RO: as GEORADIUSBYMEMBER, without STORE
fn georadiusbymember_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    radius_by_member_command(ctx, args, false);
}

fn radius_by_member_command(ctx: &mut Ctx<'_>, args: &[&[u8]], stores: bool) {
    answer(ctx, |ctx| {
        let entry = read_typed::<Zset>(ctx, args[1])?;
        let mut query = Search::new();
        // Of an absent key nothing is looked at but the options.
        if entry.is_some() {
            query.centre_on_member(ctx, entry, args[2])?;
            query.by_radius(args[3], args[4])?;
        }
        search(ctx, entry, query, Form::Radius { stores }, args, 5)
    });
}

/// Reads the options, which begin at `options_at`, searches and answers or stores.
fn search<'a>(
    ctx: &mut Ctx<'_>,
    entry: Option<Entry>,
    mut query: Search<'a>,
    form: Form,
    args: &[&'a [u8]],
    options_at: usize,
) -> Result<(), Failure> {
    query.options(ctx, entry, form, &args[options_at..])?;
    query.check(form, args[0])?;
    let found = entry.map_or(Vec::new(), |entry| query.run(zset_at(ctx.keyspace, entry)));
    match query.store {
        None => reply_found(&mut ctx.reply, &query, &found),
        Some(key) => {
            let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
            let result = to_store(ctx, &query, found);
            store(ctx, key, result, event, args);
        }
    }
    Ok(())
}

fn to_store(ctx: &Ctx<'_>, query: &Search<'_>, found: Vec<Found>) -> Zset {
    let score = |found: &Found| if query.store_distance { found.distance_m / query.unit_m } else { found.score };
    let mut members: Vec<(Element, f64)> = found.iter().map(|found| (Element::new(&found.member), score(found))).collect();
    members.sort_by(|(a, a_score), (b, b_score)| a_score.total_cmp(b_score).then_with(|| a.cmp(b)));
    Zset::from_ordered(members, ctx.keyspace.limits())
}

fn reply_found(reply: &mut Reply<'_>, query: &Search<'_>, found: &[Found]) {
    let options = [query.with_distance, query.with_hash, query.with_coordinates].into_iter().filter(|with| *with).count();
    reply.array(found.len());
    for found in found {
        if options > 0 {
            reply.array(1 + options);
        }
        reply.bulk(&found.member);
        if query.with_distance {
            reply_distance(reply, found.distance_m / query.unit_m);
        }
        if query.with_hash {
            reply.integer(found.score as i64);
        }
        if query.with_coordinates {
            reply_point(reply, found.point);
        }
    }
}

// --- Keys ----------------------------------------------------------------------------------------------------------------

fn radius_keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    Ok(keys_with_store(args, 6))
}

fn radius_by_member_keys(args: &[&[u8]]) -> Result<Vec<usize>, &'static str> {
    Ok(keys_with_store(args, 5))
}

/// The key and the last one behind STORE or STOREDIST, as the options are read.
fn keys_with_store(args: &[&[u8]], options_at: usize) -> Vec<usize> {
    let (mut keys, mut at) = (vec![1], options_at);
    while at + 1 < args.len() {
        let stores = is(args[at], "STORE") || is(args[at], "STOREDIST");
        if stores {
            keys.truncate(1);
            keys.push(at + 1);
        }
        at += if stores || is(args[at], "COUNT") { 2 } else { 1 };
    }
    keys
}
