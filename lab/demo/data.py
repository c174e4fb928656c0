"""The databases of the demo: a generated shop, and the Chinook music shop if it is available."""

from dataclasses import dataclass
from pathlib import Path

from lab.demo.shell import POSTGRES, Shell
from lab.project import DATA

HERE = Path(__file__).parent
CHINOOK = DATA
CHINOOK_SCRIPTS = {"postgres": "chinook_postgresql.sql", "mariadb": "chinook_mysql.sql"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database on a host, and the job that backs it up."""

    job: str
    name: str

    @property
    def restored(self) -> str:
        return f"{self.name}_restored"


def databases(shell: Shell) -> list[Database]:
    """The databases that a host of the demo holds."""
    shop = Database(job="shop", name="shop")
    chinook = Database(job="chinook", name="chinook" if shell.kind == POSTGRES else "Chinook")
    return [shop, chinook] if CHINOOK.is_dir() else [shop]


def load(shell: Shell) -> str:
    """Create and fill the databases of a host; returns their size in words."""
    shell.sql("CREATE DATABASE shop;")
    shell.load(HERE / f"shop.{shell.kind}.sql", database="shop")
    if CHINOOK.is_dir():
        shell.load(CHINOOK / CHINOOK_SCRIPTS[shell.kind])
    return f"{size_bytes(shell) / 1e6:.0f} MB"


def size_bytes(shell: Shell) -> int:
    """Bytes of all databases that the demo made, as the server counts them."""
    names = ", ".join(f"'{database.name}'" for database in databases(shell))
    if shell.kind == POSTGRES:
        sizes, where = "sum(pg_database_size(datname)) FROM pg_database", "datname"
    else:
        sizes = "sum(data_length + index_length) FROM information_schema.tables"
        where = "table_schema"
    return int(float(shell.sql(f"SELECT {sizes} WHERE {where} IN ({names});")))
