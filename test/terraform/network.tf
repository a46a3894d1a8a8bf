# What the network story applies. Variables change in its second half.
terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "stage" {
  type = string
}

variable "image" {
  type = string
}

locals {
  two  = var.stage == "two"
  tags = { Name = "tf-${var.stage}" }
}

data "aws_availability_zones" "all" {
  state = "available"
}

data "aws_region" "here" {}

resource "aws_vpc" "main" {
  cidr_block           = "10.20.0.0/16"
  enable_dns_hostnames = local.two
  enable_dns_support   = true
  tags                 = local.tags
}

resource "aws_subnet" "public" {
  vpc_id                  = aws_vpc.main.id
  cidr_block              = "10.20.0.0/24"
  availability_zone       = data.aws_availability_zones.all.names[0]
  map_public_ip_on_launch = local.two
  tags                    = local.tags
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.20.${count.index + 1}.0/24"
  availability_zone = data.aws_availability_zones.all.names[count.index]
  tags              = local.tags
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = local.tags
}

resource "aws_eip" "nat" {
  domain = "vpc"
  tags   = local.tags
}

resource "aws_nat_gateway" "main" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public.id
  tags          = local.tags
  depends_on    = [aws_internet_gateway.main]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.main.id
  }
  tags = local.tags
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id
  tags   = local.tags
}

resource "aws_route" "nat" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.main.id
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

resource "aws_default_route_table" "main" {
  default_route_table_id = aws_vpc.main.default_route_table_id
  tags                   = local.tags
}

resource "aws_default_security_group" "main" {
  vpc_id = aws_vpc.main.id
  tags   = local.tags
}

resource "aws_default_network_acl" "main" {
  default_network_acl_id = aws_vpc.main.default_network_acl_id
  ingress {
    protocol   = "-1"
    rule_no    = local.two ? 110 : 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
  egress {
    protocol   = "-1"
    rule_no    = 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
  tags = local.tags
  lifecycle {
    ignore_changes = [subnet_ids]
  }
}

resource "aws_network_acl" "private" {
  vpc_id     = aws_vpc.main.id
  subnet_ids = aws_subnet.private[*].id
  tags       = local.tags
}

resource "aws_network_acl_rule" "in" {
  network_acl_id = aws_network_acl.private.id
  rule_number    = 100
  egress         = false
  protocol       = "-1"
  rule_action    = "allow"
  cidr_block     = "0.0.0.0/0"
}

resource "aws_network_acl_rule" "out" {
  network_acl_id = aws_network_acl.private.id
  rule_number    = local.two ? 120 : 100
  egress         = true
  protocol       = "-1"
  rule_action    = "allow"
  cidr_block     = "0.0.0.0/0"
}

resource "aws_ec2_managed_prefix_list" "office" {
  name           = "office-${var.stage}"
  address_family = "IPv4"
  max_entries    = 5
  entry {
    cidr        = local.two ? "198.51.100.0/24" : "192.0.2.0/24"
    description = "office"
  }
  tags = local.tags
}

resource "aws_ec2_managed_prefix_list" "apart" {
  name           = "apart"
  address_family = "IPv4"
  max_entries    = 3
}

resource "aws_ec2_managed_prefix_list_entry" "apart" {
  cidr           = "198.51.100.0/24"
  description    = "apart"
  prefix_list_id = aws_ec2_managed_prefix_list.apart.id
}

resource "aws_security_group" "connector" {
  name        = "connector"
  description = "the apps"
  vpc_id      = aws_vpc.main.id
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
  tags = local.tags
}

resource "aws_security_group" "database" {
  name        = "database"
  description = "the database"
  vpc_id      = aws_vpc.main.id
  ingress {
    description     = "apps"
    from_port       = 5432
    to_port         = local.two ? 5433 : 5432
    protocol        = "tcp"
    security_groups = [aws_security_group.connector.id]
  }
  ingress {
    description     = "office"
    from_port       = 443
    to_port         = 443
    protocol        = "tcp"
    prefix_list_ids = [aws_ec2_managed_prefix_list.office.id]
  }
  tags = local.tags
}

resource "aws_security_group" "rules" {
  name        = "rules"
  description = "rules of their own"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group_rule" "legacy" {
  type              = "ingress"
  from_port         = 8000
  to_port           = 8010
  protocol          = "tcp"
  cidr_blocks       = ["10.20.1.0/24", "10.20.2.0/24"]
  security_group_id = aws_security_group.rules.id
}

resource "aws_vpc_security_group_ingress_rule" "icmp" {
  security_group_id            = aws_security_group.rules.id
  ip_protocol                  = "icmp"
  from_port                    = -1
  to_port                      = -1
  referenced_security_group_id = aws_security_group.connector.id
  description                  = var.stage
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.rules.id
  ip_protocol       = "-1"
  cidr_ipv4         = local.two ? "10.0.0.0/8" : "0.0.0.0/0"
}

resource "aws_network_interface" "spare" {
  subnet_id       = aws_subnet.private[0].id
  private_ips     = ["10.20.1.50"]
  security_groups = [aws_security_group.rules.id]
  description     = "spare-${var.stage}"
  tags            = local.tags
}

resource "aws_key_pair" "me" {
  key_name   = "me"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"
  tags       = local.tags
}

resource "aws_instance" "database" {
  ami                    = var.image
  instance_type          = "t3.micro"
  subnet_id              = aws_subnet.private[0].id
  private_ip             = "10.20.1.10"
  vpc_security_group_ids = [aws_security_group.database.id]
  key_name               = aws_key_pair.me.key_name
  user_data              = "hello"
  tags                   = merge(local.tags, { "funade:volume" = "tf-database" })
}

resource "aws_vpc_endpoint" "logs" {
  vpc_id              = aws_vpc.main.id
  service_name        = "com.amazonaws.${data.aws_region.here.name}.logs"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = [aws_subnet.private[0].id]
  security_group_ids  = [aws_security_group.rules.id]
  private_dns_enabled = false
  tags                = local.tags
}

resource "aws_cloudwatch_log_group" "flows" {
  name = "tf-flows"
}

resource "aws_flow_log" "main" {
  vpc_id                   = aws_vpc.main.id
  traffic_type             = "ALL"
  log_destination          = aws_cloudwatch_log_group.flows.arn
  iam_role_arn             = "arn:aws:iam::000000000000:role/flows"
  max_aggregation_interval = 60
  tags                     = local.tags
}

resource "aws_apprunner_vpc_connector" "main" {
  vpc_connector_name = "tf-connector"
  subnets            = aws_subnet.private[*].id
  security_groups    = [aws_security_group.connector.id]
  tags               = local.tags
}

# the data sources

data "aws_vpc" "main" {
  id = aws_vpc.main.id
}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnet" "private" {
  id = aws_subnet.private[0].id
}

data "aws_subnets" "all" {
  filter {
    name   = "vpc-id"
    values = [aws_vpc.main.id]
  }
  depends_on = [aws_subnet.private, aws_subnet.public]
}

data "aws_security_group" "connector" {
  vpc_id = aws_vpc.main.id
  name   = aws_security_group.connector.name
}

data "aws_security_groups" "all" {
  filter {
    name   = "group-name"
    values = ["conn*"]
  }
  filter {
    name   = "vpc-id"
    values = [aws_security_group.connector.vpc_id]
  }
}

data "aws_route_table" "private" {
  subnet_id  = aws_subnet.private[0].id
  depends_on = [aws_route_table_association.private]
}

data "aws_internet_gateway" "main" {
  filter {
    name   = "attachment.vpc-id"
    values = [aws_internet_gateway.main.vpc_id]
  }
}

data "aws_instance" "database" {
  instance_id = aws_instance.database.id
}

data "aws_ec2_managed_prefix_list" "office" {
  id = aws_ec2_managed_prefix_list.office.id
}

data "aws_vpc_endpoint_service" "s3" {
  service      = "s3"
  service_type = "Gateway"
}

data "aws_vpc_security_group_rules" "rules" {
  filter {
    name   = "group-id"
    values = [aws_vpc_security_group_ingress_rule.icmp.security_group_id]
  }
}

output "found" {
  value = join(",", [data.aws_vpc.main.cidr_block, data.aws_vpc.default.cidr_block, length(data.aws_subnets.all.ids), length(data.aws_security_groups.all.ids), data.aws_instance.database.private_ip])
}
