"""Make up passwords, and write everything that holds one into the folder deploy/secrets.

    python3 deploy/credentials.py                     for the flow of compose.yaml
    python3 deploy/credentials.py --namespace shop    for a flow of yours

It needs nothing but Python. What is there already is kept, so that it can be run again.

    passwords/<user>         one for each user of RabbitMQ, and for the user flow of PostgreSQL
    definitions.json         rabbitmq/definitions.json with the namespace, and with password hashes
    <user>_broker_url        what FLOW_BROKER is for this user
    store_url                what FLOW_STORE is
"""

import argparse
import base64
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EXAMPLE = "delivery"
STORE_USER = "flow"
SALT_BYTES = 4


def hashed(password: str) -> str:
    """Return a password as RabbitMQ keeps it (rabbit_password_hashing_sha256).

    Args:
        password: The password.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def definitions(template: str, namespace: str) -> dict[str, Any]:
    """Return what RabbitMQ is to know, for another namespace.

    Args:
        template: The text of rabbitmq/definitions.json.
        namespace: The flow's name.
    """
    in_pattern = json.dumps(re.escape(namespace))[1:-1]
    document: dict[str, Any] = json.loads(template.replace(f"{EXAMPLE}\\\\.", f"{in_pattern}\\\\."))
    return document


def write(path: Path, text: str) -> None:
    """Write a file that everybody may read who gets it: containers run as other users.

    Nobody gets it from here, because the folder is closed to others.

    Args:
        path: The file.
        text: Its text.
    """
    path.write_text(text)
    path.chmod(0o444)


def password_of(folder: Path, user: str) -> str:
    """Return the password of a user; make one up if there is none yet.

    Args:
        folder: Where passwords are.
        user: The user.
    """
    path = folder / user
    if not path.exists():
        # Hexadecimal, so that it means the same in a URL.
        write(path, secrets.token_hex(24))
    return path.read_text().strip()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files.

    Args:
        arguments: The command line, without the program.
    """
    parser = argparse.ArgumentParser(description="Make up passwords for a deployment.")
    parser.add_argument("--namespace", default=EXAMPLE, help="the flow's name")
    parser.add_argument("--folder", type=Path, default=HERE / "secrets", help="where to write")
    parser.add_argument("--broker", default="rabbitmq:5672", help="HOST:PORT of RabbitMQ")
    parser.add_argument("--store", default="postgres:5432", help="HOST:PORT of PostgreSQL")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    passwords = folder / "passwords"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords.mkdir(exist_ok=True)
    template = (HERE / "rabbitmq" / "definitions.json").read_text()
    document = definitions(template, options.namespace)
    texts: dict[str, str] = {}
    for user in document["users"]:
        name = user["name"]
        password = password_of(passwords, name)
        user["password_hash"] = hashed(password)
        texts[f"{name}_broker_url"] = f"amqp://{name}:{password}@{options.broker}/flow"
    password = password_of(passwords, STORE_USER)
    texts["store_url"] = f"postgresql://{STORE_USER}:{password}@{options.store}/flow"
    texts["definitions.json"] = json.dumps(document, indent=2)
    for name, text in texts.items():
        (folder / name).unlink(missing_ok=True)
        write(folder / name, f"{text}\n")
    print(f"written to {folder}: {len(texts)} files, and the passwords")  # noqa: T201


if __name__ == "__main__":
    main()
