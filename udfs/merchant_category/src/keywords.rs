//! Words that tell a business: names of chains, and nouns that stand on signs.

/// Every keyword with its category, sorted by keyword.
const KEYWORDS: &[(&str, &str)] = &[
    ("airbnb", "travel"),
    ("airlines", "travel"),
    ("airport", "travel"),
    ("airways", "travel"),
    ("aldi", "groceries"),
    ("amazon", "shopping"),
    ("amzn", "shopping"),
    ("apotheke", "health"),
    ("apple", "electronics"),
    ("arcade", "entertainment"),
    ("atm", "cash"),
    ("bakery", "restaurants"),
    ("bar", "restaurants"),
    ("bestbuy", "electronics"),
    ("bistro", "restaurants"),
    ("book", "shopping"),
    ("books", "shopping"),
    ("bp", "fuel"),
    ("burger", "restaurants"),
    ("bäckerei", "restaurants"),
    ("cafe", "restaurants"),
    ("café", "restaurants"),
    ("carrefour", "groceries"),
    ("cash", "cash"),
    ("casino", "entertainment"),
    ("chevron", "fuel"),
    ("cinema", "entertainment"),
    ("clinic", "health"),
    ("clothing", "shopping"),
    ("coffee", "restaurants"),
    ("computer", "electronics"),
    ("computers", "electronics"),
    ("costco", "groceries"),
    ("cvs", "health"),
    ("deli", "restaurants"),
    ("dental", "health"),
    ("dentist", "health"),
    ("depot", "home"),
    ("diner", "restaurants"),
    ("dominos", "restaurants"),
    ("drugstore", "health"),
    ("ebay", "shopping"),
    ("edeka", "groceries"),
    ("electric", "utilities"),
    ("electronics", "electronics"),
    ("eleven", "groceries"),
    ("energy", "utilities"),
    ("espresso", "restaurants"),
    ("esso", "fuel"),
    ("etsy", "shopping"),
    ("exxon", "fuel"),
    ("exxonmobil", "fuel"),
    ("farmers", "groceries"),
    ("fitness", "health"),
    ("foods", "groceries"),
    ("fuel", "fuel"),
    ("furniture", "home"),
    ("games", "entertainment"),
    ("garden", "home"),
    ("gas", "fuel"),
    ("grill", "restaurants"),
    ("grocery", "groceries"),
    ("gym", "health"),
    ("hardware", "home"),
    ("hilton", "travel"),
    ("hospital", "health"),
    ("hotel", "travel"),
    ("hotels", "travel"),
    ("ikea", "home"),
    ("inn", "travel"),
    ("insurance", "utilities"),
    ("internet", "utilities"),
    ("kfc", "restaurants"),
    ("kroger", "groceries"),
    ("lidl", "groceries"),
    ("lufthansa", "travel"),
    ("lyft", "transport"),
    ("macys", "shopping"),
    ("market", "groceries"),
    ("marketplace", "shopping"),
    ("marriott", "travel"),
    ("mcdonalds", "restaurants"),
    ("medical", "health"),
    ("metro", "transport"),
    ("mobile", "utilities"),
    ("motel", "travel"),
    ("netflix", "entertainment"),
    ("nike", "shopping"),
    ("noodle", "restaurants"),
    ("oil", "fuel"),
    ("pantry", "groceries"),
    ("parking", "transport"),
    ("petrol", "fuel"),
    ("pharmacy", "health"),
    ("phone", "utilities"),
    ("pizza", "restaurants"),
    ("rail", "transport"),
    ("railway", "transport"),
    ("rental", "transport"),
    ("restaurant", "restaurants"),
    ("rewe", "groceries"),
    ("rossmann", "health"),
    ("ryanair", "travel"),
    ("safeway", "groceries"),
    ("shell", "fuel"),
    ("shoe", "shopping"),
    ("shoes", "shopping"),
    ("spotify", "entertainment"),
    ("starbucks", "restaurants"),
    ("steam", "entertainment"),
    ("subway", "restaurants"),
    ("supermarket", "groceries"),
    ("sushi", "restaurants"),
    ("taco", "restaurants"),
    ("taqueria", "restaurants"),
    ("target", "shopping"),
    ("taxi", "transport"),
    ("telecom", "utilities"),
    ("tesco", "groceries"),
    ("texaco", "fuel"),
    ("theater", "entertainment"),
    ("theatre", "entertainment"),
    ("tickets", "entertainment"),
    ("toll", "transport"),
    ("total", "fuel"),
    ("transit", "transport"),
    ("travel", "travel"),
    ("uber", "transport"),
    ("verizon", "utilities"),
    ("video", "entertainment"),
    ("vodafone", "utilities"),
    ("walgreens", "health"),
    ("walmart", "shopping"),
    ("water", "utilities"),
    ("withdrawal", "cash"),
    ("wok", "restaurants"),
    ("zalando", "shopping"),
    ("zara", "shopping"),
];

/// The bytes of the longest keyword.
pub(crate) const LONGEST: usize = 16;

/// Where the keywords of each first byte begin.
const BEGINS: [u8; 257] = {
    assert!(KEYWORDS.len() < 256, "a place in the table fits a byte");
    let mut begins = [0; 257];
    let mut byte = 0;
    let mut place = 0_u8;
    #[expect(clippy::indexing_slicing, reason = "at compile time")]
    while byte < 257 {
        while (place as usize) < KEYWORDS.len() && (KEYWORDS[place as usize].0.as_bytes()[0] as usize) < byte {
            place += 1;
        }
        begins[byte] = place;
        byte += 1;
    }
    begins
};

/// The category of a word in lower case, if it is a keyword.
#[inline]
pub(crate) fn category_of(word: &[u8]) -> Option<&'static str> {
    let first = usize::from(*word.first()?);
    let (from, to) = (*BEGINS.get(first)?, *BEGINS.get(first + 1)?);
    let alike = KEYWORDS.get(usize::from(from)..usize::from(to))?;
    alike.iter().find(|(keyword, _)| keyword.as_bytes() == word).map(|(_, category)| *category)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_sorted_without_repeats_and_fits() {
        assert!(KEYWORDS.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(KEYWORDS.iter().all(|(keyword, _)| keyword.len() <= LONGEST));
    }

    #[test]
    fn every_keyword_is_found() {
        for (keyword, category) in KEYWORDS {
            assert_eq!(category_of(keyword.as_bytes()), Some(*category), "{keyword}");
        }
        assert_eq!(category_of(b""), None);
        assert_eq!(category_of(b"zz"), None);
        assert_eq!(category_of(&[0xff]), None);
    }
}
