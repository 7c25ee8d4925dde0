//! `travel`: how far and how fast something went, from its positions.
//!
//! `latitude: float64`, `longitude: float64` in degrees, `time: timestamp`, ordered → `km`, `last_km`, `last_kmh`, `max_kmh`. The
//! distance between two positions is the great circle's on a sphere (haversine), within 0.5 % of the real one. For a card that
//! is used in two places the speed is what nobody can travel at; for a lorry the way is what it drove, as far as positions
//! come often enough.
//!
//! Always true: the legs of a window are those between its own positions, and merging two stretches adds the one between the
//! last position of the earlier and the first of the later; a position that is none is refused.

use millrace_sdk::prelude::*;

/// The mean radius of the Earth (IUGG), in kilometres.
const RADIUS: f64 = 6_371.008_8;

const MICROS_AN_HOUR: f64 = 3_600e6;

/// Where something was, and when.
#[derive(Input)]
pub struct Position {
    latitude: f64,
    longitude: f64,
    time: Timestamp,
}

/// The way so far. Positions are null until there is one, legs until there are two.
#[derive(State, Default, Clone, Copy, Debug, PartialEq)]
pub struct Travel {
    first_latitude: Option<f64>,
    first_longitude: Option<f64>,
    first_time: Option<Timestamp>,
    last_latitude: Option<f64>,
    last_longitude: Option<f64>,
    last_time: Option<Timestamp>,
    km: f64,
    last_km: Option<f64>,
    last_kmh: Option<f64>,
    max_kmh: Option<f64>,
}

/// The way in kilometres, the last leg of it, and how fast it went at last and at most. A leg that took no time has no speed.
#[derive(Output)]
pub struct Way {
    km: f64,
    last_km: Option<f64>,
    last_kmh: Option<f64>,
    max_kmh: Option<f64>,
}

/// The way over the surface of a sphere, in kilometres.
fn haversine(from: &Position, to: &Position) -> f64 {
    let half_sine = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin();
    let (north, east) = (half_sine(from.latitude, to.latitude), half_sine(from.longitude, to.longitude));
    let shrink = from.latitude.to_radians().cos() * to.latitude.to_radians().cos();
    // Rounding may make a little more than 1 of opposite points.
    2.0 * RADIUS * (north * north + shrink * east * east).min(1.0).sqrt().asin()
}

impl Travel {
    fn first(&self) -> Option<Position> {
        Some(Position { latitude: self.first_latitude?, longitude: self.first_longitude?, time: self.first_time? })
    }

    fn last(&self) -> Option<Position> {
        Some(Position { latitude: self.last_latitude?, longitude: self.last_longitude?, time: self.last_time? })
    }

    fn begin(&mut self, at: &Position) {
        (self.first_latitude, self.first_longitude) = (Some(at.latitude), Some(at.longitude));
        self.first_time = Some(at.time);
    }

    fn end(&mut self, at: &Position) {
        (self.last_latitude, self.last_longitude) = (Some(at.latitude), Some(at.longitude));
        self.last_time = Some(at.time);
    }

    /// Goes from the last position to the next.
    #[expect(clippy::cast_precision_loss, reason = "microseconds beyond 2^53 are 285 years")]
    fn go(&mut self, from: &Position, to: &Position) {
        let km = haversine(from, to);
        let hours = to.time.since(from.time) as f64 / MICROS_AN_HOUR;
        self.km += km;
        self.last_km = Some(km);
        self.last_kmh = (hours > 0.0).then(|| km / hours);
        self.max_kmh = fastest(self.max_kmh, self.last_kmh);
    }
}

fn fastest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

#[aggregate(ordered)]
impl Aggregate for Travel {
    type Input = Position;
    type Output = Way;

    fn update(&mut self, row: Position) -> Result<(), Reject> {
        if !(row.latitude.abs() <= 90.0 && row.longitude.abs() <= 180.0) {
            return Err(Reject::new("not a position: latitude is from -90 to 90, longitude from -180 to 180"));
        }
        match self.last() {
            Some(last) => self.go(&last, &row),
            None => self.begin(&row),
        }
        self.end(&row);
        Ok(())
    }

    fn merge(&mut self, later: &Self) {
        let (Some(first), Some(last)) = (later.first(), later.last()) else { return };
        let Some(before) = self.last() else {
            *self = *later;
            return;
        };
        self.go(&before, &first);
        self.km += later.km;
        if later.last_km.is_some() {
            (self.last_km, self.last_kmh) = (later.last_km, later.last_kmh);
        }
        self.max_kmh = fastest(self.max_kmh, later.max_kmh);
        self.end(&last);
    }

    fn evaluate(&self, _window: Window) -> Way {
        Way { km: self.km, last_km: self.last_km, last_kmh: self.last_kmh, max_kmh: self.max_kmh }
    }
}

millrace_sdk::export! { aggregates: [Travel] }

#[cfg(test)]
mod tests;
