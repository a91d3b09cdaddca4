"""Who takes part in the market day: operators and their sites, demand partners, the platform.

Pure data. All names, addresses and numbers are invented. Must not know tariffs' contents, sessions or HTTP.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a party is established; its country is the party's."""

    street: str
    post_code: str
    town: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpo:
    """A charge point operator: one country, one currency, one rate of VAT on electricity (percent)."""

    party_id: str
    name: str
    country: str  # ISO 3166-1 alpha-2
    country3: str  # ISO 3166-1 alpha-3, as OCPI locations have it
    currency: str
    time_zone: str
    vat_id: str
    vat_percent: Decimal
    address: Address
    register_number: str
    terms_days: int = 2

    @property
    def country_code(self) -> str:
        """The first half of the OCPI party id."""
        return self.party_id.split("-")[0]

    @property
    def party_code(self) -> str:
        """The second half of the OCPI party id."""
        return self.party_id.split("-")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A location of a CPO whose connectors all carry one tariff; `power_w` is what a connector can give."""

    site_id: str
    cpo_id: str
    tariff_id: str
    name: str
    address: str
    city: str
    postal_code: str
    latitude: str
    longitude: str
    power_w: int

    @property
    def direct_current(self) -> bool:
        """Whether the site has DC chargers: alternating current ends at 22 kW here."""
        return self.power_w > MAX_AC_POWER_W


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """A party that is no CPO: `terms_days` are clearing days until it is paid."""

    party_id: str
    kind: str
    name: str
    country: str
    currency: str
    time_zone: str
    vat_id: str | None
    address: Address
    register_number: str
    terms_days: int


MAX_AC_POWER_W: Final = 22_000

CPOS: Final = (
    Cpo(
        party_id="CH-ALP",
        name="Alpenstrom Laden",
        country="CH",
        country3="CHE",
        currency="CHF",
        time_zone="Europe/Zurich",
        vat_id="CHE-100.000.101 MWST",
        address=Address(street="Gleisweg 12", post_code="7000", town="Chur"),
        register_number="CHE-100.000.101",
        vat_percent=Decimal("8.1"),
    ),
    Cpo(
        party_id="DE-RHN",
        name="Rheinlade",
        country="DE",
        country3="DEU",
        currency="EUR",
        time_zone="Europe/Berlin",
        vat_id="DE100000016",
        address=Address(street="Uferstraße 8", post_code="50679", town="Köln"),
        register_number="HRB 100016",
        vat_percent=Decimal(19),
    ),
    Cpo(
        party_id="FR-LUM",
        name="Lumiborne",
        country="FR",
        country3="FRA",
        currency="EUR",
        time_zone="Europe/Paris",
        vat_id="FR88100000009",
        address=Address(street="14 rue des Bornes", post_code="69002", town="Lyon"),
        register_number="100000009",
        vat_percent=Decimal(20),
    ),
    Cpo(
        party_id="NL-POL",
        name="Polderlaad",
        country="NL",
        country3="NLD",
        currency="EUR",
        time_zone="Europe/Amsterdam",
        vat_id="NL100000009B01",
        address=Address(street="Dijkweg 3", post_code="3511 AB", town="Utrecht"),
        register_number="10000009",
        vat_percent=Decimal(21),
    ),
    Cpo(
        party_id="GB-THM",
        name="Thames Charge",
        country="GB",
        country3="GBR",
        currency="GBP",
        time_zone="Europe/London",
        vat_id="GB999999973",
        address=Address(street="5 Quay Street", post_code="SE1 0AA", town="London"),
        register_number="09999973",
        vat_percent=Decimal(20),
    ),
)

# The platform sells to drivers, so it is registered where its CPOs have charge points.
PLATFORM_REGISTRATIONS: Final = {
    "DE": "DE100000032",
    "FR": "FR15100000017",
    "GB": "GB999999918",
    "NL": "NL100000022B01",
}

PLATFORM: Final = Business(
    party_id="platform",
    kind="platform",
    name="Platform operator",
    country="CH",
    currency="CHF",
    time_zone="Europe/Zurich",
    vat_id="CHE-100.001.218 MWST",
    address=Address(street="Rechenplatz 1", post_code="8001", town="Zürich"),
    register_number="CHE-100.001.218",
    terms_days=2,
)
SUPER_APP: Final = Business(
    party_id="superapp",
    kind="demand_partner",
    name="Omni super app",
    country="DE",
    currency="EUR",
    time_zone="Europe/Berlin",
    vat_id="DE100000024",
    address=Address(street="Netzallee 20", post_code="10115", town="Berlin"),
    register_number="HRB 100024",
    terms_days=2,
)
PARKING_APP: Final = Business(
    party_id="parkingapp",
    kind="demand_partner",
    name="Parkhelvet parking app",
    country="CH",
    currency="CHF",
    time_zone="Europe/Zurich",
    vat_id="CHE-100.002.324 MWST",
    address=Address(street="Parkgasse 6", post_code="3011", town="Bern"),
    register_number="CHE-100.002.324",
    terms_days=2,
)
# Paid after ten clearing days: what it earned on the day is still an open payable at the end.
MOBILITY: Final = Business(
    party_id="mobility",
    kind="emsp",
    name="Volta mobility provider",
    country="NL",
    currency="EUR",
    time_zone="Europe/Amsterdam",
    vat_id="NL100000010B01",
    address=Address(street="Stroomkade 9", post_code="1011 AC", town="Amsterdam"),
    register_number="10000010",
    terms_days=10,
)
DEMAND_PARTNERS: Final = (SUPER_APP, PARKING_APP, MOBILITY)
BUSINESSES: Final = (PLATFORM, *DEMAND_PARTNERS)

SITES: Final = (
    Site(
        site_id="ALP-1",
        cpo_id="CH-ALP",
        tariff_id="energy",
        name="Bahnhof Chur",
        address="Gleisweg 1",
        city="Chur",
        postal_code="7000",
        latitude="46.853",
        longitude="9.529",
        power_w=22_000,
    ),
    Site(
        site_id="ALP-2",
        cpo_id="CH-ALP",
        tariff_id="energy-and-parking",
        name="Seehof Luzern",
        address="Uferallee 4",
        city="Luzern",
        postal_code="6003",
        latitude="47.052",
        longitude="8.308",
        power_w=22_000,
    ),
    Site(
        site_id="ALP-3",
        cpo_id="CH-ALP",
        tariff_id="peak-and-weekend",
        name="Raststatt Gotthard",
        address="Passstrasse 9",
        city="Erstfeld",
        postal_code="6472",
        latitude="46.819",
        longitude="8.651",
        power_w=150_000,
    ),
    Site(
        site_id="ALP-4",
        cpo_id="CH-ALP",
        tariff_id="free",
        name="Werkhof Sils",
        address="Seeweg 2",
        city="Sils",
        postal_code="7514",
        latitude="46.431",
        longitude="9.762",
        power_w=11_000,
    ),
    Site(
        site_id="RHN-1",
        cpo_id="DE-RHN",
        tariff_id="start-fee",
        name="Rheinufer",
        address="Uferstr. 12",
        city="Köln",
        postal_code="50667",
        latitude="50.938",
        longitude="6.960",
        power_w=22_000,
    ),
    Site(
        site_id="RHN-2",
        cpo_id="DE-RHN",
        tariff_id="minimum",
        name="Marktgarage",
        address="Marktgasse 3",
        city="Mainz",
        postal_code="55116",
        latitude="49.999",
        longitude="8.273",
        power_w=11_000,
    ),
    Site(
        site_id="RHN-3",
        cpo_id="DE-RHN",
        tariff_id="quarter-hours",
        name="Seehof Konstanz",
        address="Hafenweg 7",
        city="Konstanz",
        postal_code="78462",
        latitude="47.660",
        longitude="9.175",
        power_w=22_000,
    ),
    Site(
        site_id="RHN-4",
        cpo_id="DE-RHN",
        tariff_id="power-bands",
        name="Autohof",
        address="Zubringer 1",
        city="Koblenz",
        postal_code="56070",
        latitude="50.380",
        longitude="7.570",
        power_w=300_000,
    ),
    Site(
        site_id="LUM-1",
        cpo_id="FR-LUM",
        tariff_id="energy",
        name="Quai Nord",
        address="3 quai du Nord",
        city="Lyon",
        postal_code="69002",
        latitude="45.750",
        longitude="4.827",
        power_w=22_000,
    ),
    Site(
        site_id="LUM-2",
        cpo_id="FR-LUM",
        tariff_id="maximum",
        name="Parc des Tilleuls",
        address="8 allée B",
        city="Dijon",
        postal_code="21000",
        latitude="47.322",
        longitude="5.041",
        power_w=22_000,
    ),
    Site(
        site_id="LUM-3",
        cpo_id="FR-LUM",
        tariff_id="reservation",
        name="Gare Est",
        address="1 rue du Quai",
        city="Strasbourg",
        postal_code="67000",
        latitude="48.585",
        longitude="7.735",
        power_w=50_000,
    ),
    Site(
        site_id="LUM-4",
        cpo_id="FR-LUM",
        tariff_id="night",
        name="Aire du Val",
        address="A6 borne 40",
        city="Beaune",
        postal_code="21200",
        latitude="47.024",
        longitude="4.839",
        power_w=150_000,
    ),
    Site(
        site_id="POL-1",
        cpo_id="NL-POL",
        tariff_id="energy",
        name="Dorpsplein",
        address="Plein 5",
        city="Edam",
        postal_code="1135",
        latitude="52.512",
        longitude="5.048",
        power_w=11_000,
    ),
    Site(
        site_id="POL-2",
        cpo_id="NL-POL",
        tariff_id="first-hour-free",
        name="Stadsgarage",
        address="Singel 20",
        city="Utrecht",
        postal_code="3511",
        latitude="52.091",
        longitude="5.118",
        power_w=22_000,
    ),
    Site(
        site_id="POL-3",
        cpo_id="NL-POL",
        tariff_id="minimum-and-maximum",
        name="Veerhaven",
        address="Kade 8",
        city="Hoorn",
        postal_code="1621",
        latitude="52.640",
        longitude="5.060",
        power_w=50_000,
    ),
    Site(
        site_id="POL-4",
        cpo_id="NL-POL",
        tariff_id="whole-kwh",
        name="Polderweg",
        address="Polderweg 2",
        city="Lelystad",
        postal_code="8232",
        latitude="52.508",
        longitude="5.475",
        power_w=22_000,
    ),
    Site(
        site_id="THM-1",
        cpo_id="GB-THM",
        tariff_id="energy",
        name="Wharf Street",
        address="14 Wharf Street",
        city="London",
        postal_code="SE8 3GG",
        latitude="51.480",
        longitude="-0.024",
        power_w=50_000,
    ),
    Site(
        site_id="THM-2",
        cpo_id="GB-THM",
        tariff_id="idle-fee",
        name="Seehof London",
        address="2 Garden Row",
        city="London",
        postal_code="SE1 6HG",
        latitude="51.496",
        longitude="-0.104",
        power_w=22_000,
    ),
    Site(
        site_id="THM-3",
        cpo_id="GB-THM",
        tariff_id="tiers",
        name="Downs Services",
        address="A2 Junction 4",
        city="Canterbury",
        postal_code="CT4 5LN",
        latitude="51.270",
        longitude="1.080",
        power_w=150_000,
    ),
    Site(
        site_id="THM-4",
        cpo_id="GB-THM",
        tariff_id="evening-peak",
        name="Market Car Park",
        address="1 Market Street",
        city="Reading",
        postal_code="RG1 2BQ",
        latitude="51.456",
        longitude="-0.971",
        power_w=22_000,
    ),
)

CPO_BY_ID: Final[Mapping[str, Cpo]] = MappingProxyType({cpo.party_id: cpo for cpo in CPOS})
SITE_BY_ID: Final[Mapping[str, Site]] = MappingProxyType({site.site_id: site for site in SITES})


def evse_id(site: Site, *, stall: int) -> str:
    """The stall's public identifier (eMI3 form, as printed on the charger): 'CH*ALP*E1*0003'."""
    return f"{site.cpo_id.replace('-', '*')}*E{site.site_id.split('-')[1]}*{stall:04d}"
