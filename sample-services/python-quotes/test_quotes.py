"""Run by `python3 -m unittest` with the SDK on the path."""

import unittest

from isomer import ClientError
from isomer.testing import MockBroker
from quotes import Quotes


class Quoting(unittest.TestCase):
    def test_a_quotation_has_the_name_of_its_user(self):
        mock = MockBroker()
        mock.on_call("v2.users.get", {"id": 2, "name": "Grace"})
        mock.on_call("slugs.make", lambda params, options: params["text"].lower())
        kept = mock.call(Quotes(), "add", {"text": "Hello", "user": 2})
        self.assertEqual(kept, {"id": 1, "text": "Hello", "by": "Grace", "slug": "hello"})
        self.assertEqual(mock.events[0].name, "quote.added")

    def test_an_empty_one_is_refused(self):
        with self.assertRaises(ClientError) as caught:
            MockBroker().call(Quotes(), "add", {"text": " "})
        self.assertEqual(caught.exception.type, "EMPTY")


if __name__ == "__main__":
    unittest.main()
