//! Quantities: exact arithmetic, and every value prints as what reads back as itself.

use proptest::prelude::*;
use weir_config::policy::{BadQuantity, Count, Date, Duration, Percent, Size, Usd, UsdPerMillion};

#[test]
fn prices_are_exact_to_the_pico_dollar() {
    let table = [
        ("0.015", 15_000),
        ("0.30", 300_000),
        ("3", 3_000_000),
        ("3.75", 3_750_000),
        ("0.000001", 1),
        ("0.1000000", 100_000),
        ("18446744073709.551615", u64::MAX),
        ("0", 0),
    ];
    for (text, pico) in table {
        assert_eq!(text.parse(), Ok(UsdPerMillion { pico }), "{text}");
    }
    let bad = [
        ("0.0000001", BadQuantity::TooFine(6)),
        ("18446744073709.551616", BadQuantity::TooLarge),
        ("99999999999999999999", BadQuantity::TooLarge),
    ];
    for (text, why) in bad {
        assert_eq!(text.parse::<UsdPerMillion>(), Err(why), "{text}");
    }
    for text in ["", ".", "1.", ".5", "1e3", "-1", "+1", "1,5", "1_000", "0x1", "NaN", "inf", " 1", "1 ", "١"]
    {
        assert!(matches!(text.parse::<UsdPerMillion>(), Err(BadQuantity::Form(_))), "{text}");
    }
}

#[test]
fn a_price_in_yaml_or_json_does_not_pass_through_a_float() {
    // As a float this would be 9007199254740992 and ..993 is lost.
    let price = "9007199254.740993";
    let yaml = format!(
        "apiVersion: weir.dev/v1\nmodels: [{{name: m, targets: [{{provider: p, model: m, price: {{input: {price}, output: 0}}}}]}}]"
    );
    let json = format!(
        "{{\"apiVersion\": \"weir.dev/v1\", \"models\": [{{\"name\": \"m\", \"targets\": [{{\"provider\": \"p\", \
         \"model\": \"m\", \"price\": {{\"input\": {price}, \"output\": 0}}}}]}}]}}"
    );
    for text in [yaml, json] {
        let policy = weir_model::parse(&text).unwrap();
        assert_eq!(policy.models[0].targets[0].price[0].input.pico, 9_007_199_254_740_993);
    }
}

#[test]
fn units_multiply_exactly() {
    let count = |text: &str| text.parse::<Count>().map(|count| count.0).ok();
    assert_eq!(
        ["500", "32k", "2M", "1.5M", "1.2345k", "2K", "k", "1.5"].map(count),
        [Some(500), Some(32_000), Some(2_000_000), Some(1_500_000), None, None, None, None]
    );
    let size = |text: &str| text.parse::<Size>().map(|size| size.0).ok();
    assert_eq!(
        ["4096", "64KiB", "32MiB", "1GiB", "1.5KiB", "1MB", "-1"].map(size),
        [Some(4096), Some(65_536), Some(33_554_432), Some(1 << 30), Some(1536), None, None]
    );
    let ms = |text: &str| text.parse::<Duration>().map(|time| time.ms).ok();
    assert_eq!(
        ["250ms", "30s", "10m", "24h", "30d", "1.5s", "0.5ms", "30", "1w"].map(ms),
        [
            Some(250),
            Some(30_000),
            Some(600_000),
            Some(86_400_000),
            Some(2_592_000_000),
            Some(1_500),
            None,
            None,
            None
        ]
    );
    let percent = |text: &str| text.parse::<Percent>().map(|share| share.hundredths).ok();
    assert_eq!(["20%", "0.5%", "0.001%", "20"].map(percent), [Some(2_000), Some(50), None, None]);
    assert_eq!("9007199.254740992".parse(), Ok(Usd { nano: 1 << 53 }));
    assert_eq!("99999999999999999999M".parse::<Count>(), Err(BadQuantity::TooLarge));
}

#[test]
fn dates_are_those_of_the_calendar() {
    // Figures of `date -u -d DATE +%s`.
    let table = [
        ("1970-01-01", 0),
        ("2000-02-29", 951_782_400),
        ("2000-03-01", 951_868_800),
        ("2024-12-31T23:59:59Z", 1_735_689_599),
        ("2099-01-01", 4_070_908_800),
        ("2100-03-01", 4_107_542_400),
        ("9999-12-31", 253_402_214_400),
    ];
    for (text, unix) in table {
        assert_eq!(text.parse(), Ok(Date { unix }), "{text}");
        assert_eq!(Date { unix }.to_string(), text);
    }
    for text in [
        "1969-12-31",
        "2100-02-29",
        "2023-13-01",
        "2023-00-01",
        "2023-01-00",
        "2023-1-1",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:00:00",
        "x",
    ] {
        assert!(text.parse::<Date>().is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_quantity_reads_back_as_itself(n: u64, day in 0u64..253_402_300_800) {
        prop_assert_eq!(Count(n).to_string().parse(), Ok(Count(n)));
        prop_assert_eq!(Size(n).to_string().parse(), Ok(Size(n)));
        prop_assert_eq!(Duration { ms: n }.to_string().parse(), Ok(Duration { ms: n }));
        prop_assert_eq!(Percent { hundredths: n }.to_string().parse(), Ok(Percent { hundredths: n }));
        prop_assert_eq!(UsdPerMillion { pico: n }.to_string().parse(), Ok(UsdPerMillion { pico: n }));
        prop_assert_eq!(Usd { nano: n }.to_string().parse(), Ok(Usd { nano: n }));
        prop_assert_eq!(Date { unix: day }.to_string().parse(), Ok(Date { unix: day }));
    }

    #[test]
    fn no_text_makes_a_quantity_panic(text in "[0-9]{0,21}[.]?[0-9]{0,12}(k|M|KiB|GiB|ms|d|%|-|T|:|Z)?\\PC{0,3}") {
        let _ = text.parse::<Count>();
        let _ = text.parse::<Size>();
        let _ = text.parse::<Duration>();
        let _ = text.parse::<Percent>();
        let _ = text.parse::<UsdPerMillion>();
        let _ = text.parse::<Usd>();
        let _ = text.parse::<Date>();
    }
}
