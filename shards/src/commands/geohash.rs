//! Points on the earth as 52-bit integers, and which of these integers lie near a point.
//!
//! Longitude and latitude are each divided into 2^26 cells; the bits of the two cell numbers are interleaved, longitude first.
//! ```text
//! hash   bit 51: longitude's highest | latitude's highest | longitude … | bit 0: latitude's lowest
//! ```
//! So the cells of a coarser grid (2^steps by 2^steps) are ranges of hashes, and an area is searched by the ranges of a cell and
//! its eight neighbours. The order in which they are visited is that of Redis, because clients see it.

use std::f64::consts::PI;
use std::ops::Range;

pub const LONGITUDE_MAX: f64 = 180.0;
/// Where the Mercator projection of the earth is a square.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Bits of each axis.
const STEPS_MAX: u32 = 26;

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half of the projected earth's side.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// In degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

impl Point {
    /// Both coordinates inside what a hash can say.
    pub fn is_valid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    pub fn hash(self) -> u64 {
        Cell::of(self, STEPS_MAX).hash()
    }

    /// The centre of the smallest cell of a hash, which came out of a score.
    pub fn of_score(score: f64) -> Point {
        // A negative score is no hash; the conversion is the one that Redis's machine code makes.
        let hash = if score < 0.0 { score as i64 as u64 } else { score as u64 };
        Cell { x: deinterleave(hash >> 1), y: deinterleave(hash), steps: STEPS_MAX }.centre()
    }

    /// The geohash of the public definition, in base 32, where latitudes go from -90 to 90. Its last digit is always 0: 11 digits
    /// would need 55 bits.
    pub fn text(self) -> [u8; 11] {
        const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let (x, y) = (cell_number(self.longitude, LONGITUDE_MAX, STEPS_MAX), cell_number(self.latitude, 90.0, STEPS_MAX));
        let hash = interleave(x) << 1 | interleave(y);
        std::array::from_fn(|at| if at == 10 { b'0' } else { DIGITS[(hash >> (52 - 5 * (at + 1)) & 31) as usize] })
    }

    /// Metres along the surface of a sphere.
    pub fn distance_m(self, other: Point) -> f64 {
        let half_sine = |a: f64, b: f64| ((b.to_radians() - a.to_radians()) / 2.0).sin();
        let v = half_sine(self.longitude, other.longitude);
        if v == 0.0 {
            return self.latitude_distance_m(other);
        }
        let u = half_sine(self.latitude, other.latitude);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        2.0 * EARTH_RADIUS_M * (u * u + cosines * v * v).sqrt().asin()
    }

    pub fn latitude_distance_m(self, other: Point) -> f64 {
        EARTH_RADIUS_M * (other.latitude.to_radians() - self.latitude.to_radians()).abs()
    }
}

/// Divided, not multiplied as by the standard library, which rounds otherwise.
fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// The number of a coordinate's cell when its axis, from `-max` to `max`, has 2^steps cells.
fn cell_number(coordinate: f64, max: f64, steps: u32) -> u32 {
    let part = (coordinate + max) / (2.0 * max);
    (part * (1u64 << steps) as f64) as u32
}

/// How the bits of a number move apart, halving the distance each time, and which bits stay.
const SPREADING: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

/// Spreads the bits of a number to the even places.
fn interleave(number: u32) -> u64 {
    SPREADING.iter().fold(number as u64, |bits, (shift, stay)| (bits | bits << shift) & stay)
}

/// The bits at the even places.
fn deinterleave(bits: u64) -> u32 {
    let even = bits & SPREADING[4].1;
    let gather = |bits: u64, at: usize| (bits | bits >> SPREADING[at + 1].0) & SPREADING[at].1;
    let gathered = (0..4).rev().fold(even, gather);
    (gathered | gathered >> 16) as u32
}

/// One of 2^steps by 2^steps cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    x: u32,
    y: u32,
    steps: u32,
}

impl Cell {
    fn of(point: Point, steps: u32) -> Cell {
        let (x, y) = (cell_number(point.longitude, LONGITUDE_MAX, steps), cell_number(point.latitude, LATITUDE_MAX, steps));
        Cell { x, y, steps }
    }

    fn hash(self) -> u64 {
        interleave(self.x) << 1 | interleave(self.y)
    }

    /// Around the earth, and from pole to pole.
    fn moved(self, x: i32, y: i32) -> Cell {
        let mask = (1u32 << self.steps) - 1;
        // An axis that stays is left as it is: a point at its very end is in a cell behind the last.
        let step = |number: u32, by: i32| if by == 0 { number } else { number.wrapping_add_signed(by) & mask };
        Cell { x: step(self.x, x), y: step(self.y, y), ..self }
    }

    /// From west to east.
    fn longitudes(self) -> (f64, f64) {
        self.sides(self.x, LONGITUDE_MAX)
    }

    /// From south to north.
    fn latitudes(self) -> (f64, f64) {
        self.sides(self.y, LATITUDE_MAX)
    }

    fn sides(self, number: u32, max: f64) -> (f64, f64) {
        let side = |number: f64| -max + (number / (1u64 << self.steps) as f64) * (2.0 * max);
        (side(number as f64), side(number as f64 + 1.0))
    }

    fn centre(self) -> Point {
        let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
        Point { longitude: middle(self.longitudes(), LONGITUDE_MAX), latitude: middle(self.latitudes(), LATITUDE_MAX) }
    }

    /// The hashes in it.
    fn hashes(self) -> Range<u64> {
        let (first, shift) = (self.hash(), 2 * (STEPS_MAX - self.steps));
        first << shift..(first + 1) << shift
    }
}

/// What is searched, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Circle { radius_m: f64 },
    Box { width_m: f64, height_m: f64 },
}

impl Shape {
    /// The distance of a point from the centre when it lies inside.
    pub fn distance_within(self, centre: Point, point: Point) -> Option<f64> {
        match self {
            Shape::Circle { radius_m } => Some(centre.distance_m(point)).filter(|distance| *distance <= radius_m),
            Shape::Box { width_m, height_m } => {
                // The width is measured at the point's latitude.
                let beside = Point { longitude: centre.longitude, ..point };
                let inside = point.latitude_distance_m(centre) <= height_m / 2.0 && point.distance_m(beside) <= width_m / 2.0;
                inside.then(|| centre.distance_m(point))
            }
        }
    }

    /// Half the height and half the width.
    fn extent_m(self) -> (f64, f64) {
        match self {
            Shape::Circle { radius_m } => (radius_m, radius_m),
            Shape::Box { width_m, height_m } => (height_m / 2.0, width_m / 2.0),
        }
    }

    fn radius_m(self) -> f64 {
        match self {
            Shape::Circle { radius_m } => radius_m,
            Shape::Box { width_m, height_m } => ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt(),
        }
    }
}

/// The degrees between which an area lies. They may be beyond the earth's ends.
struct Bounds {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

impl Bounds {
    fn around(centre: Point, shape: Shape) -> Bounds {
        let (height, width) = shape.extent_m();
        let latitude_delta = degrees(height / EARTH_RADIUS_M);
        // A degree of longitude is shortest on the side that is nearer to the pole.
        let nearer_pole = if centre.latitude < 0.0 { centre.latitude - latitude_delta } else { centre.latitude + latitude_delta };
        let longitude_delta = degrees(width / EARTH_RADIUS_M / nearer_pole.to_radians().cos());
        Bounds {
            longitude: (centre.longitude - longitude_delta, centre.longitude + longitude_delta),
            latitude: (centre.latitude - latitude_delta, centre.latitude + latitude_delta),
        }
    }
}

/// How fine a grid's cells may be so that a cell and its neighbours cover the radius.
fn steps_for(radius_m: f64, latitude: f64) -> u32 {
    if radius_m == 0.0 {
        return STEPS_MAX;
    }
    let (mut steps, mut reach) = (1i32, radius_m);
    while reach < MERCATOR_MAX_M {
        reach *= 2.0;
        steps += 1;
    }
    // Two less: a cell is at least as wide as the radius then.
    steps -= 2;
    // Towards the poles cells become narrow.
    steps -= (latitude.abs() > 66.0) as i32 + (latitude.abs() > 80.0) as i32;
    steps.clamp(1, STEPS_MAX as i32) as u32
}

/// The centre, then its neighbours: steps in x and y, in the order in which Redis visits them.
const VISITED: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The ranges of hashes in which all points of an area are, in the order in which they are visited.
pub fn hashes_around(centre: Point, shape: Shape) -> Vec<Range<u64>> {
    let bounds = Bounds::around(centre, shape);
    let mut steps = steps_for(shape.radius_m(), centre.latitude);
    let mut cell = Cell::of(centre, steps);
    if steps > 1 && !neighbours_cover(cell, &bounds) {
        steps -= 1;
        cell = Cell::of(centre, steps);
    }
    let (west, east) = cell.longitudes();
    let (south, north) = cell.latitudes();
    // Neighbours on a side where the cell itself reaches beyond the area; in a coarse grid a cell can be its own neighbour's neighbour.
    let useless = |(x, y): (i32, i32)| {
        steps >= 2
            && ((y < 0 && south < bounds.latitude.0)
                || (y > 0 && north > bounds.latitude.1)
                || (x < 0 && west < bounds.longitude.0)
                || (x > 0 && east > bounds.longitude.1))
    };
    let mut cells: Vec<Cell> = Vec::with_capacity(VISITED.len());
    for step in VISITED.into_iter().filter(|step| !useless(*step)) {
        let next = cell.moved(step.0, step.1);
        // Redis compares a cell with the one visited before it, unless that is the centre.
        if cells.len() < 2 || cells.last() != Some(&next) {
            cells.push(next);
        }
    }
    cells.into_iter().map(Cell::hashes).collect()
}

/// Whether the cell and its neighbours reach as far as the area.
fn neighbours_cover(cell: Cell, bounds: &Bounds) -> bool {
    cell.moved(0, 1).latitudes().1 >= bounds.latitude.1
        && cell.moved(0, -1).latitudes().0 <= bounds.latitude.0
        && cell.moved(1, 0).longitudes().1 >= bounds.longitude.1
        && cell.moved(-1, 0).longitudes().0 <= bounds.longitude.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_in_the_cell_of_its_hash() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let point = Point { longitude: random.f64() * 360.0 - 180.0, latitude: random.f64() * 170.0 - 85.0 };
            let hash = point.hash();
            assert!(hash < 1 << 52);
            let centre = Point::of_score(hash as f64);
            assert!((centre.longitude - point.longitude).abs() < 360.0 / (1 << 26) as f64);
            assert!((centre.latitude - point.latitude).abs() < 180.0 / (1 << 26) as f64);
            assert!(centre.distance_m(point) < 1.0);
        }
    }

    #[test]
    fn known_places_have_their_known_hashes() {
        let palermo = Point { longitude: 13.361389, latitude: 38.115556 };
        assert_eq!(palermo.hash(), 3479099956230698);
        assert_eq!(&Point::of_score(palermo.hash() as f64).text(), b"sqc8b49rny0");
    }

    #[test]
    fn the_ranges_around_a_point_hold_all_points_of_the_area() {
        let mut random = fastrand::Rng::with_seed(2);
        for _ in 0..3000 {
            let mut point = |spread: f64, centre: Point| Point {
                longitude: (centre.longitude + (random.f64() - 0.5) * spread * 2.0).clamp(-180.0, 180.0),
                latitude: (centre.latitude + (random.f64() - 0.5) * spread).clamp(-80.0, 80.0),
            };
            let centre = point(120.0, Point { longitude: 0.0, latitude: 0.0 });
            let points: Vec<Point> = (0..50).map(|_| point(10.0, centre)).collect();
            let side = 10f64.powf(1.0 + random.f64() * 5.0);
            let shape =
                if random.bool() { Shape::Circle { radius_m: side } } else { Shape::Box { width_m: side, height_m: side * 1.5 } };
            let ranges = hashes_around(centre, shape);
            for point in points.iter().filter(|point| shape.distance_within(centre, **point).is_some()) {
                let hash = point.hash();
                assert!(ranges.iter().any(|range| range.contains(&hash)), "{centre:?} {shape:?} {point:?}");
            }
        }
    }
}
