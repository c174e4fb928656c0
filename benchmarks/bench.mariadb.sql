-- Tables as sysbench makes them: random text beside an integer key, about 700 MB.
CREATE TABLE sbtest1 (id int NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, pad char(60) NOT NULL, KEY k (k)) ENGINE = InnoDB;
INSERT INTO sbtest1 SELECT seq, seq * 7919 % 1000000, concat(sha2(seq, 224), sha2(seq, 224)), sha2(-seq, 224) FROM seq_1_to_1200000;
CREATE TABLE sbtest2 LIKE sbtest1;
INSERT INTO sbtest2 SELECT * FROM sbtest1;
ANALYZE TABLE sbtest1, sbtest2;
