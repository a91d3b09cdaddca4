-- Decisions for stations of OCPP 1.6, whose messages travel inside DataTransfer.

ALTER TABLE pnc.decision DROP CONSTRAINT decision_ocpp_version_check;
ALTER TABLE pnc.decision ADD CONSTRAINT decision_ocpp_version_check CHECK (ocpp_version IN ('1.6', '2.0.1', '2.1'));
