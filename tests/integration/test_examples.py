"""What we hand out works: every example configuration checks clean and passes its own tests, and so does the README's."""
import re
import shutil
import unittest

from tests.support import settings
from tests.support.heliograf import command
from tests.support.scenario import scratch_directory

CONFIG = settings.ROOT / "config"


class Examples(unittest.TestCase):
    def assert_good(self, path):
        checked = command("check", "--config", str(path))
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual(checked.stderr, "")
        tested = command("test", "--config", str(path))
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        self.assertRegex(tested.stdout, r"\n[1-9]\d* passed, 0 failed\n$")

    def test_every_example_is_good_and_has_tests(self):
        examples = sorted((CONFIG / "examples").glob("*.yaml")) + [CONFIG / "quickstart/heliograf.yaml"]
        self.assertGreater(len(examples), 1)
        for path in examples:
            with self.subTest(example=path.name):
                self.assert_good(path)

    def test_the_configuration_in_the_readme_is_good(self):
        directory = scratch_directory()
        self.addCleanup(shutil.rmtree, directory, True)
        blocks = re.findall(r"```yaml\n(.*?)```", (settings.ROOT / "README.md").read_text(), re.S)
        self.assertEqual(len(blocks), 1)
        (directory / "password").write_text("secret\n")
        path = directory / "readme.yaml"
        path.write_text(blocks[0].replace("/etc/heliograf/password", str(directory / "password")))
        self.assert_good(path)


if __name__ == "__main__":
    unittest.main()
