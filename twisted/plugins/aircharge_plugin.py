"""``twistd aircharge``: found by Twisted through this file's place."""

from twisted.application.service import ServiceMaker

aircharge = ServiceMaker("AirCharge", "aircharge.tap", "Airtime recharge platform (空中充值)", "aircharge")
