//! Whom the simulated cards pay: names of shops that there might be, with what they take on average.

/// A merchant.
#[derive(Debug)]
pub(super) struct Merchant {
    /// Its name, as it would write it.
    pub(super) name: &'static str,
    /// A typical amount, in cents.
    pub(super) typical: u32,
    /// What payment services put before the name.
    pub(super) prefixes: &'static [&'static str],
}

const fn merchant(name: &'static str, typical: u32, prefixes: &'static [&'static str]) -> Merchant {
    Merchant { name, typical, prefixes }
}

/// Of small shops.
const SMALL: &[&str] = &["SQ *", "TST* ", "SumUp  *", ""];
/// Of chains.
const CHAIN: &[&str] = &["", "", "POS DEBIT ", "CHECKCARD "];
/// Of shops on the net.
const ONLINE: &[&str] = &["PAYPAL *", "PP*", "WWW.", ""];

/// One in so many transactions is at each.
pub(super) const MERCHANTS: [Merchant; 40] = [
    merchant("Blue Heron Coffee", 640, SMALL),
    merchant("Corner Espresso Bar", 480, SMALL),
    merchant("The Golden Wok Restaurant", 3_450, SMALL),
    merchant("Luigi's Pizza", 2_790, SMALL),
    merchant("El Camino Taqueria", 1_850, SMALL),
    merchant("Sunrise Bakery", 940, SMALL),
    merchant("Burger Yard", 1_490, CHAIN),
    merchant("Noodle House Cafe", 2_120, SMALL),
    merchant("Fresh Valley Market", 5_660, CHAIN),
    merchant("Greenleaf Grocery", 4_310, CHAIN),
    merchant("Family Supermarket", 7_820, CHAIN),
    merchant("Harvest Foods", 6_240, CHAIN),
    merchant("Organic Pantry", 3_980, SMALL),
    merchant("Coastal Fuel Station", 5_230, CHAIN),
    merchant("Highway Gas", 4_870, CHAIN),
    merchant("Petrol Point", 6_110, CHAIN),
    merchant("Northern Oil", 5_540, CHAIN),
    merchant("City Taxi", 1_760, SMALL),
    merchant("Metro Transit", 275, CHAIN),
    merchant("Rail Express Tickets", 4_500, ONLINE),
    merchant("Skyway Airlines", 32_400, ONLINE),
    merchant("Harbour Hotel", 18_900, CHAIN),
    merchant("Travel Desk", 41_500, ONLINE),
    merchant("Rent-A-Wheel Car Rental", 12_800, CHAIN),
    merchant("Mega Electronics", 15_900, CHAIN),
    merchant("Pixel Computer Store", 48_000, ONLINE),
    merchant("Book Nook", 2_380, SMALL),
    merchant("Style Avenue Clothing", 6_990, ONLINE),
    merchant("Shoe Gallery", 8_450, CHAIN),
    merchant("Everything Marketplace", 3_690, ONLINE),
    merchant("Stream Box Video", 1_299, ONLINE),
    merchant("Arcade Games", 2_490, ONLINE),
    merchant("Cinema Palace", 2_150, CHAIN),
    merchant("City Pharmacy", 1_890, CHAIN),
    merchant("Wellness Drugstore", 2_240, CHAIN),
    merchant("Dental Practice", 14_500, SMALL),
    merchant("Iron Gym Fitness", 4_990, ONLINE),
    merchant("Cell Mobile Phone", 5_500, ONLINE),
    merchant("Hardware Depot", 7_310, CHAIN),
    merchant("Lucky Star Casino", 20_000, ONLINE),
];

/// Where they are: town and state, as wide as the field is.
pub(super) const PLACES: [&str; 16] = [
    "SEATTLE       WA",
    "PORTLAND      OR",
    "SAN FRANCISCO CA",
    "LOS ANGELES   CA",
    "LAS VEGAS     NV",
    "PHOENIX       AZ",
    "DENVER        CO",
    "AUSTIN        TX",
    "HOUSTON       TX",
    "CHICAGO       IL",
    "ATLANTA       GA",
    "MIAMI         FL",
    "NEW YORK      NY",
    "BOSTON        MA",
    "PHILADELPHIA  PA",
    "WASHINGTON    DC",
];
