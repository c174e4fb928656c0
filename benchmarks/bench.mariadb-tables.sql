-- Ten thousand tables of some rows each, as multi-tenant sites grow them.
DELIMITER ;;
CREATE PROCEDURE small_tables(IN many int) BEGIN
  DECLARE number int DEFAULT 1;
  WHILE number <= many DO
    EXECUTE IMMEDIATE CONCAT('CREATE TABLE small', number, ' (id int NOT NULL PRIMARY KEY, k int NOT NULL, c char(120) NOT NULL, KEY k (k)) ENGINE = InnoDB');
    EXECUTE IMMEDIATE CONCAT('INSERT INTO small', number, ' SELECT seq, seq * 7919 % 1000, concat(sha2(seq, 224), sha2(seq, 224)) FROM seq_1_to_20');
    SET number = number + 1;
  END WHILE;
END;;
DELIMITER ;
CALL small_tables(:mysql_tables);
DROP PROCEDURE small_tables;
