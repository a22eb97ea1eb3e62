"""python -m p3dfeat"""

from p3dfeat.cli.app import main

main()
