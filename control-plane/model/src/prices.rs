//! Prices by date, and tables of them in a file of their own: read, judged, compared, and laid over a policy. Which of
//! several prices holds is decided here, by a time that the caller says; the filters know one.

use std::collections::BTreeMap;

use weir_config::policy::{Policy, Price, PriceTable, UsdPerMillion};

use crate::problem::Problem;
use crate::{de, json, yaml};

/// Largest price: 1 USD a token, in pico-USD; nothing is dearer, and sums stay in 128 bits.
const MAX_PRICE: u64 = 1_000_000_000_000;
/// Longest name of a service tier.
const MAX_NAME: usize = 64;

/// Reads a table of prices, YAML or JSON, and judges it.
pub fn read(text: &str) -> Result<PriceTable, Vec<Problem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with('{').then(|| json::read(text));
    let tree = match json {
        Some(Ok(tree)) => tree,
        Some(Err(problem)) => yaml::read(text).map_err(|_| vec![problem])?,
        None => yaml::read(text).map_err(|problem| vec![problem])?,
    };
    let table: PriceTable = de::read(&tree)?;
    let mut wrong = Vec::new();
    let mut error = |path: String, message: String, hint: &str| {
        let (line, column) = tree.locate(&path).unwrap_or_default();
        wrong.push(Problem::error(path, message).hint(hint).at(line, column));
    };
    let mut known = BTreeMap::new();
    for (at, of) in table.prices.iter().enumerate() {
        if let Some(before) = known.insert((&of.provider, &of.model), at) {
            let message = format!("`{}` of `{}` is priced twice, in row {before} too", of.model, of.provider);
            error(format!("prices[{at}]"), message, "put its prices into one row, each with its `from`");
        }
        if of.price.is_empty() {
            error(format!("prices[{at}].price"), "no price".to_owned(), "leave the row out");
        }
        if same_date(&of.price) {
            let message = "two prices hold from the same date".to_owned();
            error(format!("prices[{at}].price"), message, "give each a `from` of its own");
        }
        for (n, price) in of.price.iter().enumerate() {
            let path = if of.price.len() > 1 { format!("[{n}]") } else { String::new() };
            for (name, message, hint) in problems(price) {
                error(format!("prices[{at}].price{path}.{name}"), message, hint);
            }
        }
    }
    if wrong.is_empty() { Ok(table) } else { Err(wrong) }
}

/// What is wrong with a price: the field, what, and what to do.
pub(crate) fn problems(of: &Price) -> Vec<(String, String, &'static str)> {
    let mut out = Vec::new();
    for (name, price) in parts(of) {
        if price.pico > MAX_PRICE {
            out.push((name, "more than 1 USD a token".to_owned(), "prices are USD per 1M tokens"));
        }
    }
    for name in of.tiers.keys() {
        if name.is_empty() || name.len() > MAX_NAME {
            let message = "a tier's name has 1 to 64 bytes".to_owned();
            out.push(("tiers".to_owned(), message, "say it as the provider's answers do"));
        }
    }
    out
}

/// Two of them begin on one day.
pub(crate) fn same_date(prices: &[Price]) -> bool {
    let mut dates: Vec<u64> = prices.iter().map(since).collect();
    dates.sort_unstable();
    dates.windows(2).any(|pair| pair[0] == pair[1])
}

fn since(price: &Price) -> u64 {
    price.from.map_or(0, |date| date.unix)
}

/// Every rate of a price, by name.
fn parts(of: &Price) -> Vec<(String, UsdPerMillion)> {
    let mut out = vec![("input".to_owned(), of.input), ("output".to_owned(), of.output)];
    let mut add = |name: String, price: Option<UsdPerMillion>| out.extend(price.map(|price| (name, price)));
    add("cache_read".to_owned(), of.cache_read);
    add("cache_write".to_owned(), of.cache_write);
    add("reasoning".to_owned(), of.reasoning);
    for (tier, of) in &of.tiers {
        let rates = [
            ("input", Some(of.input)),
            ("output", Some(of.output)),
            ("cache_read", of.cache_read),
            ("cache_write", of.cache_write),
            ("reasoning", of.reasoning),
        ];
        for (name, price) in rates {
            add(format!("tiers.{tier}.{name}"), price);
        }
    }
    out
}

/// Leaves each target of the policy the one price that holds at `now` (seconds since 1970), if any: the table's where
/// it has the model, else the policy's own. Answers when that changes next.
pub(crate) fn settle(policy: &mut Policy, table: Option<&PriceTable>, now: u64) -> Option<u64> {
    let rows = table.map(|table| table.prices.as_slice()).unwrap_or_default();
    let mut next = None;
    for target in policy.models.iter_mut().flat_map(|model| &mut model.targets) {
        let row = rows.iter().find(|row| row.provider == target.provider && row.model == target.model);
        let prices = row.map_or(&target.price, |row| &row.price);
        let later = prices.iter().map(since).filter(|since| *since > now).min();
        next = [next, later].into_iter().flatten().min();
        let holds = prices.iter().filter(|price| since(price) <= now).max_by_key(|price| since(price));
        let holds: Vec<Price> = holds.cloned().into_iter().collect();
        target.price = holds.into();
    }
    next
}

/// What differs between two tables, a line each: `bedrock us.x from 2026-01-01: output 15 -> 12`.
pub fn diff(old: &PriceTable, new: &PriceTable) -> Vec<String> {
    type Rows = BTreeMap<(String, String, String), BTreeMap<String, UsdPerMillion>>;
    let rows = |table: &PriceTable| -> Rows {
        let one = |price: &Price| {
            let from = price.from.map_or("ever".to_owned(), |date| date.to_string());
            (from, parts(price).into_iter().collect())
        };
        let of = table.prices.iter();
        of.flat_map(|of| {
            of.price.iter().map(move |price| {
                let (from, parts) = one(price);
                ((of.provider.clone(), of.model.clone(), from), parts)
            })
        })
        .collect()
    };
    let (old, new) = (rows(old), rows(new));
    let mut out = Vec::new();
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (none_old, none_new) = (BTreeMap::new(), BTreeMap::new());
        let (before, after) = (old.get(key).unwrap_or(&none_old), new.get(key).unwrap_or(&none_new));
        let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let told = |price: Option<&UsdPerMillion>| price.map_or("none".to_owned(), UsdPerMillion::to_string);
        let changes: Vec<String> = names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .map(|name| format!("{name} {} -> {}", told(before.get(name)), told(after.get(name))))
            .collect();
        if !changes.is_empty() {
            let (provider, model, from) = key;
            out.push(format!("{provider} {model} from {from}: {}", changes.join(", ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "prices:\n- provider: p\n  model: m\n  price:\n  - {input: 3, output: 15, reasoning: 20}\n\
        \x20 - {from: 2030-01-01, input: 2, output: 10, tiers: {flex: {input: 1, output: 5}}}\n";

    fn policy() -> Policy {
        let text = "apiVersion: weir.dev/v1\nmodels: [{name: a, targets: [\
            {provider: p, model: m, price: {input: 9, output: 9}}, {provider: p, model: other, price: {input: 7, output: 7}}]}]";
        crate::parse(text).unwrap()
    }

    #[test]
    fn a_price_holds_from_its_date_until_the_next_ones() {
        let table = read(TABLE).unwrap();
        let day = 1_893_456_000; // 2030-01-01
        for (now, input, next) in
            [(0, 3_000_000, Some(day)), (day - 1, 3_000_000, Some(day)), (day, 2_000_000, None)]
        {
            let mut policy = policy();
            assert_eq!(settle(&mut policy, Some(&table), now), next);
            let [known, other] = &policy.models[0].targets[..] else { panic!("two targets") };
            assert_eq!((known.price.len(), known.price[0].input.pico), (1, input), "{now}");
            assert_eq!(other.price[0].input.pico, 7_000_000, "the table has no row of it");
        }
        let mut late = read(TABLE).unwrap();
        late.prices[0].price = vec![late.prices[0].price[1].clone()].into();
        let mut policy = policy();
        settle(&mut policy, Some(&late), 5);
        assert!(policy.models[0].targets[0].price.is_empty(), "nothing holds yet: unpriced");
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_place() {
        let twice = format!("{TABLE}- {{provider: p, model: m, price: {{input: 1, output: 1}}}}\n");
        let told = |text: &str| {
            read(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert!(told(&twice).contains("priced twice") && told(&twice).contains("line 7"), "{}", told(&twice));
        let dear = TABLE.replace("output: 5", "output: 1000001");
        assert!(told(&dear).contains("more than 1 USD a token"), "{}", told(&dear));
        let same = TABLE.replace("from: 2030-01-01, ", "");
        assert!(told(&same).contains("same date"), "{}", told(&same));
        let misspelt = TABLE.replace("reasoning", "resoning");
        assert!(told(&misspelt).contains("did you mean `reasoning`"), "{}", told(&misspelt));
    }

    #[test]
    fn a_difference_names_what_changed_and_nothing_else() {
        let (old, new) = (read(TABLE).unwrap(), read(&TABLE.replace("output: 15", "output: 12.5")).unwrap());
        assert_eq!(diff(&old, &new), ["p m from ever: output 15 -> 12.5"]);
        assert_eq!(diff(&old, &old), [""; 0]);
        let added = diff(&PriceTable::default(), &old);
        assert_eq!(added.len(), 2);
        assert!(added[0].contains("tiers.flex.input none -> 1"), "{added:?}");
    }
}
